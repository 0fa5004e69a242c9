//! A seeded simulation of a hub with clients that do whatever clients may do. A shadow of the hub
//! predicts what each client must get.
//!
//! `SIM_SEED` runs one seed, `SIM_SEEDS` so many (default 200), `SIM_STEPS`
//! sets the steps of each (default 250). A failure names its seed and step.

mod actors;
mod coverage;
mod ends;
mod justify;
mod listing;
mod memory;
mod notes;
mod order;
mod parking;
mod rates;
#[path = "../support/runs.rs"]
mod runs;
mod says;
#[path = "../support/seeds.rs"]
mod seeds;
mod shadow;
mod tally;
mod watch;

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use actors::{Client, Sim};
use coverage::{Coverage, REQUIRED};
use listing::Walk;
use longlink::limits::Devices;
use longlink::sim::{Pipe, Rng, World, owner};
use longlink::{Config, Relay, RelayConfig};
use runs::Runs;
use seeds::Place;
use shadow::Shadow;
use watch::Watched;

/// Small limits in some seeds, so that they are hit.
fn config(rng: &mut Rng, rates: &mut Rng) -> Config {
    let mut config = Config::default();
    (config.message_rate, config.broadcast_rate) = (0, 0);
    if rates.percent(40) {
        config.message_rate = *rates.pick(&[0, 1_000, 40, 5]);
        config.broadcast_rate = *rates.pick(&[0, 20, 3, 1]);
    }
    config.rate_burst = Duration::from_millis(*rates.pick(&[5_000, 800, 0]));
    config.max_message = *rng.pick(&[65_536, 2_000, 700]);
    config.max_queue = match rng.below(3) {
        0 => config.max_message + 14,
        1 => config.max_message + 14 + rng.range(0, 4_000),
        _ => 262_144.max(config.max_message + 14),
    };
    config.max_connections = *rng.pick(&[200, 40, 12]);
    config.work_per_turn = *rng.pick(&[16_384, 16_384, 50, 7, 1]);
    config.writes_per_turn = *rng.pick(&[128, 128, 5, 1]);
    if rng.percent(25) {
        config.max_buffered = rng.range(2_000, 40_000);
    }
    if rng.percent(25) {
        config.devices = Devices::One;
    }
    if rng.percent(20) {
        config.close_timeout = Duration::ZERO;
    }
    config
}

const RUNS: Runs = Runs { name: "SIM", from: 0, seeds: 200, steps: 250 };

fn run(seed: u64, steps: u64) -> Coverage {
    let place = Place::new("SIM_SEED", seed);
    let mut rng = Rng::new(seed);
    let config = config(&mut rng, &mut Rng::new(seed ^ 0xBEA7));
    let relay = rng.percent(70).then(|| owner::server(|| Relay::new(RelayConfig::default())));
    let shadow = Shadow::new(config.clone());
    let watched = Watched::new(shadow, relay, Rng::new(seed ^ 0xC0FFEE));
    let mut sim: Sim = World::new(config, watched, Instant::now());
    sim.handler_mut().base = memory::held();
    sim.read_size = *rng.pick(&[65_536, 65_536, 200, 13]);
    sim.batch = *rng.pick(&[usize::MAX, usize::MAX, 9, 2]);
    sim.slices = *rng.pick(&[64, 64, 3, 1]);
    let crowded = rng.percent(30);
    let most = *rng.pick(&[6, 15, 60]);
    let mut clients: Vec<Client> = Vec::new();
    // A trace changes nothing of what the shadow predicts.
    let mut traces = Rng::new(seed ^ 0x7ACE);
    let traced = traces.percent(40);
    let mut storms = Rng::new(seed ^ 0x5702);
    let mut listing = None;

    for step in 0..steps {
        place.step.set(step);
        if step == steps * 9 / 10 && rng.percent(50) {
            clients.extend(Client::ask_and_not_read(&mut sim, &mut rng));
            sim.settle();
            sim.shutdown();
        }
        if storms.percent(1) {
            let (hub, handler) = sim.hub.parts();
            handler.storm(hub, &mut storms);
            sim.settle();
            let (hub, handler) = sim.hub.parts();
            handler.check_release(hub);
        }
        if clients.len() < most && rng.percent(40) {
            connect(&mut sim, &mut rng, &mut clients, crowded);
            if let Some(Client { user, .. }) = clients.last().filter(|_| traced) {
                match traces.percent(70) {
                    // No more than so many users are traced at once.
                    true => _ = owner::server(|| sim.hub.trace(user)),
                    false => sim.hub.untrace(user),
                }
            }
        }
        for _ in 0..rng.below(6) {
            let count = clients.len() as u64;
            if count > 0 {
                let chosen = rng.below(count) as usize;
                act(&mut sim, &mut rng, &mut clients[chosen]);
            }
        }
        for client in &mut clients {
            if rng.percent(80) {
                client.deliver(&mut sim, &mut rng);
            }
        }
        // The turn writes as a driver does, or call by call.
        sim.by_sink = rng.percent(70);
        if rng.percent(50) {
            sim.turn();
        } else {
            sim.settle();
            rest(&mut sim);
        }
        pass_time(&mut sim, &mut rng);
        for client in &mut clients {
            client.look(&mut sim, &mut rng);
        }
        if rng.percent(40) {
            let walk = listing.take().unwrap_or_else(|| Walk::begin(&mut sim));
            listing = walk.go_on(&mut sim, &mut rng);
        }
        clients.retain(|client| !client.is_over(&sim));
    }
    place.step.set(steps);
    finish(sim, &mut rng, clients)
}

fn connect(sim: &mut Sim, rng: &mut Rng, clients: &mut Vec<Client>, crowded: bool) {
    sim.capacity = *rng.pick(&[1 << 20, 1 << 20, 5_000, 900, 130]);
    let Some(pipe) = sim.connect() else { return };
    let mut client = Client::new(pipe, rng, crowded, sim.handler().prices.is_some());
    if rng.percent(90) {
        client.act(sim, rng);
    }
    clients.push(client);
}

fn act(sim: &mut Sim, rng: &mut Rng, client: &mut Client) {
    let pipe = client.pipe;
    match rng.below(100) {
        0..90 => client.act(sim, rng),
        90..94 => sim.set_reading(pipe, false),
        94..97 => sim.set_reading(pipe, true),
        97 => {
            client.deliver_all(sim);
            sim.finish(pipe);
        }
        98 => sim.reset(pipe, *rng.pick(&[ErrorKind::ConnectionReset, ErrorKind::TimedOut])),
        _ => client.close(sim, rng),
    }
}

fn rest(sim: &mut Sim) {
    let pipes = &sim.pipes;
    let (hub, handler) = sim.hub.parts();
    let reading = |id| pipes.iter().rev().any(|pipe| pipe.conn == id && pipe.is_reading());
    handler.check_rest(hub, reading);
    let unread = |id| pipes.iter().rev().find(|pipe| pipe.conn == id).is_some_and(Pipe::is_unread);
    handler.check_read(hub, unread);
}

fn pass_time(sim: &mut Sim, rng: &mut Rng) {
    let millis = match rng.below(100) {
        0..30 => return,
        30..60 => rng.below(40),
        60..85 => rng.below(2_000),
        85..95 => rng.below(12_000),
        95..99 => rng.below(35_000),
        _ => rng.below(200_000),
    };
    if rng.percent(15) {
        // The process is stopped. What has arrived meanwhile is found when it goes on.
        let waiting = sim.pipes.iter().filter(|pipe| pipe.is_unread()).count();
        let key = "input that waited while the process was stopped";
        let long = if millis > 5_000 { waiting as u64 } else { 0 };
        sim.handler_mut().shadow.cover.add(key, long);
        sim.jump(millis);
    } else if rng.percent(30) {
        sim.settle();
        sim.jump(millis);
        sim.handler_mut().shadow.cover.add("time jumps", u64::from(millis > 60_000));
    } else {
        sim.advance(millis);
    }
    rest(sim);
}

/// Lets all clients leave, each in another way, and checks that nothing of them is left.
fn finish(mut sim: Sim, rng: &mut Rng, mut clients: Vec<Client>) -> Coverage {
    for client in &mut clients {
        match rng.below(5) {
            0 => sim.finish(client.pipe),
            1 => sim.reset(client.pipe, ErrorKind::ConnectionReset),
            2 => {
                client.deliver_all(&mut sim);
                sim.finish(client.pipe);
            }
            _ => {}
        }
    }
    sim.settle();
    for _ in 0..40 {
        sim.advance(10_000);
    }
    for client in &mut clients {
        client.look(&mut sim, rng);
    }
    sim.assert_nothing_is_left();
    let (hub, handler) = sim.hub.parts();
    handler.check_answers(hub);
    let mut cover = std::mem::take(&mut sim.handler_mut().shadow.cover);
    cover.add("full batches", sim.full_batches);
    cover.add("partial writes", sim.partial_writes);
    cover.add("blocked", sim.blocks);
    cover.add("work budget spent", sim.exhausted);
    cover.add("write budget spent", sim.leftover_writes);
    cover.add("walked", sim.walked);
    cover.add("turns", sim.turns);
    cover
}

#[test]
fn the_hub_does_what_its_shadow_predicts() {
    RUNS.all(REQUIRED, run);
}
