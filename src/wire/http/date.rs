//! The date of an answer, as HTTP writes it (RFC 9110, section 5.6.7).

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];
/// The first second of the year 10000, which has no place for its fifth digit.
const END: u64 = 253_402_300_800;

/// A second, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date([u8; 29]);

impl Date {
    /// The second of a time; `None` before 1970 and after 9999.
    pub fn of(time: SystemTime) -> Option<Self> {
        let seconds = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        if seconds >= END {
            return None;
        }
        let (days, second) = (seconds / DAY, seconds % DAY);
        let (year, month, day) = civil(days);
        let mut text = *b"Thu, 00 Jan 0000 00:00:00 GMT";
        text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
        text[8..11].copy_from_slice(MONTHS[month as usize]);
        for (at, number) in [
            (5, day),
            (12, year / 100),
            (14, year % 100),
            (17, second / 3_600),
            (20, second / 60 % 60),
            (23, second % 60),
        ] {
            text[at] = b'0' + (number / 10) as u8;
            text[at + 1] = b'0' + (number % 10) as u8;
        }
        Some(Date(text))
    }

    /// As it stands in the field.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Year, month from 0 and day from 1 of a day, counted from the first of 1970. Years are taken
/// to begin in March, so that the day of a leap year is the last one; 400 of them always have
/// the same number of days.
fn civil(days: u64) -> (u64, u64, u64) {
    /// Days from March 1 of year 0 to 1970.
    const BEFORE_1970: u64 = 719_468;
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + BEFORE_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let month = (from_march + 2) % 12;
    let year = era * 400 + year + u64::from(month < 2);
    (year, month, day - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Option<String> {
        let date = Date::of(UNIX_EPOCH + Duration::from_secs(seconds))?;
        Some(String::from_utf8(date.as_bytes().to_vec()).unwrap())
    }

    #[test]
    fn a_date_is_written_as_the_rfc_writes_it() {
        assert_eq!(at(784_111_777).as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(at(0).as_deref(), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
        assert_eq!(at(951_782_400).as_deref(), Some("Tue, 29 Feb 2000 00:00:00 GMT"));
        assert_eq!(at(END - 1).as_deref(), Some("Fri, 31 Dec 9999 23:59:59 GMT"));
        assert_eq!(at(END), None);
        assert_eq!(Date::of(UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn every_day_of_five_hundred_years_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for count in 0..500 * 365 {
            assert_eq!(civil(count), (year, month, day), "day {count}");
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                1 => 28 + u64::from(leap),
                3 | 5 | 8 | 10 => 30,
                _ => 31,
            };
            day += 1;
            if day > length {
                (day, month) = (1, month + 1);
            }
            if month == 12 {
                (month, year) = (0, year + 1);
            }
        }
    }
}
