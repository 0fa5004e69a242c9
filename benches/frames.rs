//! Frames: from bytes to messages and back, through the hub.
//!
//! ```text
//! cargo bench --bench frames
//! ```
//!
//! Decoding is measured on masked frames, as clients send them: header, unmasking, UTF-8, and a
//! handler that does nothing. The mask is zero, which costs as much as any other and leaves the
//! buffer unchanged. Encoding is measured on unmasked frames, as a server sends them: they are
//! queued, handed out to be written, and reported as written.

mod support;

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use longlink::ConnId;
use support::frames::{BINARY, TEXT, frame, server_frame_len, upgrade};
use support::line::{Lines, Listener};

const SIZES: [usize; 7] = [0, 4, 125, 126, 1 << 10, 16 << 10, 64 << 10];
const NO_MASK: Option<[u8; 4]> = Some([0; 4]);

fn open_line() -> (Lines<Listener>, ConnId) {
    let mut lines = Lines::new(1, Listener::default());
    let conn = lines.connect(&mut upgrade("/"));
    lines.turn();
    assert!(lines.hub.is_open(conn));
    (lines, conn)
}

/// A text of this many bytes of ASCII.
fn ascii(size: usize) -> String {
    "longlink ".chars().cycle().take(size).collect()
}

/// A text of this many bytes of Chinese, three bytes for each character. The rest is filled with
/// ASCII.
fn chinese(size: usize) -> String {
    let mut text: String = "长连接服务器".chars().cycle().take(size / 3).collect();
    text.push_str(&ascii(size % 3));
    text
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let kinds = [
            ("binary", BINARY, ascii(size)),
            ("ascii", TEXT, ascii(size)),
            ("chinese", TEXT, chinese(size)),
        ];
        for (name, opcode, payload) in kinds {
            let (mut lines, conn) = open_line();
            let mut bytes = frame(opcode, payload.as_bytes(), NO_MASK);
            group.bench_function(BenchmarkId::new(name, size), |bencher| {
                bencher.iter(|| lines.receive(conn, &mut bytes));
            });
            assert_eq!(lines.hub.handler().bytes, lines.hub.handler().messages * size as u64);
            assert!(lines.hub.is_open(conn) && !lines.hub.is_exhausted());
        }
    }
    group.finish();
}

/// Text whose last byte is not valid UTF-8: all of it is checked, and the connection is closed.
fn decode_invalid(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for size in SIZES.into_iter().filter(|&size| size > 0) {
        let mut payload = chinese(size - 1).into_bytes();
        payload.push(0xFF);
        let bytes = frame(TEXT, &payload, NO_MASK);
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("invalid", size), |bencher| {
            let input = || (open_line(), bytes.clone());
            bencher.iter_batched_ref(
                input,
                |((lines, conn), bytes)| {
                    lines.receive(*conn, bytes);
                    assert!(!lines.hub.is_open(*conn), "it is closed");
                },
                // Each hub has buffers of its own, so only a few exist at a time.
                BatchSize::NumIterations(16),
            );
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode");
    for size in SIZES {
        group.throughput(Throughput::Bytes(size as u64));
        let (mut lines, conn) = open_line();
        let payload = ascii(size);
        let length = server_frame_len(size);
        group.bench_function(BenchmarkId::new("text", size), |bencher| {
            bencher.iter(|| {
                assert!(lines.hub.send(conn, &payload));
                assert_eq!(lines.turn(), length);
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! { name = benches; config = short(); targets = decode, decode_invalid, encode }
criterion_main!(benches);
