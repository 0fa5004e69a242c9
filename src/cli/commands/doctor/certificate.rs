//! The certificates that a server sends, judged as phones judge them.

use std::time::{SystemTime, UNIX_EPOCH};

use longlink::tls::{CertificateChain, Trust};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::report::{Check, Report};

/// A certificate with fewer days left should have been renewed. A certificate that is valid only
/// for some days should be renewed in the last third of its time.
const DAYS_LEFT: u64 = 14;
const DAY: u64 = 86_400;
/// How many names of a certificate are shown.
const MAX_NAMES: usize = 5;

/// Checks the names of the certificate, the root that its chain leads to, and its dates.
pub fn check(
    shown: &[CertificateDer<'_>],
    host: &str,
    roots: &[CertificateDer<'_>],
    report: &mut Report,
) {
    let Some(chain) = CertificateChain::new(shown) else {
        report.add(Check::fail("chain", "a certificate cannot be read", "have it issued again"));
        return;
    };
    report.add(name(&chain, host));
    let now = SystemTime::now();
    let validity = chain.validity();
    // Mistakes other than the date are found only when the certificate is judged on a day on which
    // it is valid.
    let at = validity.map_or(now, |(from, to)| now.clamp(from, to));
    report.add(trust(&chain, shown.len(), roots, at));
    report.add(match validity {
        Some((from, to)) => expiry(from, to, now),
        None => Check::fail("expiry", "its dates cannot be read", "have it issued again"),
    });
}

fn name(chain: &CertificateChain<'_>, host: &str) -> Check {
    const STEP: &str = "name";
    if chain.is_for(host) {
        return Check::ok(STEP, format!("the certificate is for {host}"));
    }
    let mut names = chain.names();
    let told = names.by_ref().take(MAX_NAMES).collect::<Vec<_>>().join(", ");
    let seen = match (told.is_empty(), names.count()) {
        (true, _) => "the certificate is for no name at all".to_owned(),
        (_, 0) => format!("the certificate is for {told}, not for {host}"),
        (_, more) => format!("the certificate is for {told} and {more} more, not for {host}"),
    };
    let remedy = "have one issued for this name, or look at server_name: another site's is shown; \
        *.example.com is for one level below it";
    Check::fail(STEP, seen, remedy)
}

fn trust(
    chain: &CertificateChain<'_>,
    count: usize,
    roots: &[CertificateDer<'_>],
    at: SystemTime,
) -> Check {
    const STEP: &str = "chain";
    let public = "phones trust public authorities only: get one from such, as with certbot";
    let sent = match count {
        1 => "1 certificate is sent".to_owned(),
        count => format!("{count} certificates are sent"),
    };
    match chain.trust(roots, at) {
        Trust::Public => Check::ok(STEP, format!("complete, {sent}, to a root that phones know")),
        Trust::Private => Check::ok(STEP, format!("complete, {sent}, to a root of --ca")),
        Trust::Brought => {
            Check::fail(STEP, format!("{sent}, to a root that only the server knows"), public)
        }
        Trust::SelfSigned => Check::fail(STEP, "the certificate is self-signed", public),
        Trust::Incomplete => Check::fail(
            STEP,
            format!("incomplete, {sent}: works on iOS, fails on Android"),
            "use fullchain.pem, not cert.pem",
        ),
        Trust::Unknown => Check::fail(
            STEP,
            format!("{sent}, and lead to an authority that phones do not know"),
            "is the file cut off at its end? Use all of fullchain.pem; phones trust public \
             authorities only, and the root of your own is named by --ca",
        ),
        Trust::NotNow => Check::fail(
            STEP,
            "an issuer's certificate is not valid today",
            "take the new chain of your authority (fullchain.pem)",
        ),
        _ => Check::fail(STEP, format!("{sent}, and no phone takes them"), "have it issued again"),
    }
}

fn expiry(from: SystemTime, to: SystemTime, now: SystemTime) -> Check {
    const STEP: &str = "expiry";
    if let Ok(ahead) = from.duration_since(now)
        && !ahead.is_zero()
    {
        let remedy = "is this machine's clock right, and that which issued it?";
        return Check::fail(STEP, format!("valid only from {}", date(from)), remedy);
    }
    let Ok(left) = to.duration_since(now) else {
        let remedy = "renew it, and make the server load it (certbot renew; nginx -s reload)";
        return Check::fail(STEP, format!("expired on {}", date(to)), remedy);
    };
    let days = left.as_secs() / DAY;
    let lifetime = to.duration_since(from).map_or(0, |time| time.as_secs() / DAY);
    let seen = format!("{days} days left, until {}", date(to));
    match days < DAYS_LEFT.min(lifetime / 3) {
        true => Check::warn(STEP, seen, "renewal should have happened: look at its timer"),
        false => Check::ok(STEP, seen),
    }
    .with("days", days as f64)
}

/// Writes a day in UTC, such as 2026-01-31.
fn date(at: SystemTime) -> String {
    let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    // A date after the year 9999 cannot be written.
    OffsetDateTime::from_unix_timestamp(seconds).map_or("a far day".to_owned(), |at| {
        format!("{}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::commands::doctor::report::Verdict;

    fn after(days: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(days * DAY)
    }

    #[test]
    fn the_date_of_each_day_is_right() {
        assert_eq!(date(after(10_957 + 59)), "2000-02-29");
        assert_eq!(date(after(4_000_000)), "a far day");
    }

    #[test]
    fn doctor_accepts_a_certificate_from_its_first_day_and_warns_before_its_last() {
        let verdict = |now| expiry(after(100), after(200), after(now)).verdict;
        assert_eq!(verdict(99), Verdict::Fail);
        assert_eq!(verdict(100), Verdict::Ok);
        assert_eq!(verdict(186), Verdict::Ok);
        assert_eq!(verdict(187), Verdict::Warn);
        assert_eq!(verdict(201), Verdict::Fail);
        let of_six = |now| expiry(after(100), after(106), after(now)).verdict;
        assert_eq!((of_six(104), of_six(105)), (Verdict::Ok, Verdict::Warn));
    }
}
