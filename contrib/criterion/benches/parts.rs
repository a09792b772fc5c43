//! The pure parts and the parsers, per message.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mailtide_criterion::Folder;

const MESSAGES: u32 = 20_000;

fn plan(criterion: &mut Criterion) {
    let folder = Folder::in_step(MESSAGES);
    let mut group = criterion.benchmark_group("plan of 20,000 messages");
    group.throughput(Throughput::Elements(u64::from(MESSAGES)));
    for flagged in [0, 5000] {
        let remote = folder.flagged(flagged);
        group.bench_with_input(BenchmarkId::new("flagged", flagged), &remote, |bencher, remote| {
            bencher.iter(|| black_box(folder.plan(black_box(remote))));
        });
    }
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let fetch =
        |number: u32| format!("* {number} FETCH (UID {number} FLAGS (\\Seen $Forwarded work) MODSEQ ({number}))\r\n");
    let flags: String = (1..=MESSAGES).map(fetch).collect();
    let body = format!("* 1 FETCH (UID 1 BODY[] {{8000}}\r\n{})\r\n", "x".repeat(8000)).repeat(1000);
    let mut group = criterion.benchmark_group("replies");
    for (name, text) in [("FLAGS of 20,000 messages", flags), ("1,000 bodies of 8,000 bytes", body)] {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| mailtide::imap::fuzz::replies(black_box(text.as_bytes())));
        });
    }
    group.finish();
}

fn file_names(criterion: &mut Criterion) {
    let names: Vec<String> = (0..1000)
        .map(|number| format!("1700000000.M{number}P4711V0000000000000801I0000.laptop,S=9000:2,FSab"))
        .collect();
    let mut group = criterion.benchmark_group("file names");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("parse, change nothing, format", |bencher| {
        bencher.iter(|| names.iter().for_each(|name| mailtide::maildir::fuzz::file_name(black_box(name))));
    });
    group.finish();
}

criterion_group!(parts, plan, replies, file_names);
criterion_main!(parts);
