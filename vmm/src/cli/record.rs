//! `weir record` and `weir plot`.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::client::{Supervisor, Where};
use super::{Failure, parse_duration};
use crate::signals::EndSignals;
use crate::watch::plot::{Plot, page, svg};
use crate::watch::record::{Recorder, Recording};
use crate::watch::sample::Sample;

/// Arguments of `weir record`.
#[derive(Debug, Args)]
#[command(after_help = "\
Records until Ctrl-C, for the time that is given, or until `weir up` ends. The file is JSON, one object
a line: a sample of all tenants' counts, or an event such as a changed share.

Examples:
  weir record run.jsonl                     until Ctrl-C
  weir record run.jsonl --for 10s --interval 50ms
  weir plot run.jsonl -o run.html")]
pub struct RecordArgs {
    #[command(flatten)]
    place: Where,
    /// The file to write; `-` is standard output
    file: PathBuf,
    /// How long to record [default: until Ctrl-C]
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Time between samples
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    interval: Duration,
}

/// Arguments of `weir plot`.
#[derive(Debug, Args)]
#[command(after_help = "\
The picture shows each tenant's share of the device's time beside what it was entitled to by its weight
and cap, and marks what happened. A page (.html) has the picture and its figures as a table, and needs
no other file.

Examples:
  weir plot run.jsonl -o run.svg
  weir plot run.jsonl -o run.html --title \"alice and bob at 3:1\" --window 500ms")]
pub struct PlotArgs {
    /// What `weir record` wrote
    file: PathBuf,
    /// Where to draw: a name that ends with .svg or .html
    #[arg(short, long, value_name = "FILE", value_parser = output)]
    output: PathBuf,
    /// What stands above the picture [default: the recording's name]
    #[arg(long)]
    title: Option<String>,
    /// Time over which shares are taken [default: a second, or what suits the length]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    window: Option<Duration>,
}

fn output(text: &str) -> Result<PathBuf, String> {
    match Path::new(text).extension().and_then(|end| end.to_str()) {
        Some("svg" | "html") => Ok(text.into()),
        _ => Err("its name must end with .svg or .html".into()),
    }
}

/// Records what the supervisor's machines use.
pub(super) fn record(args: &RecordArgs) -> Result<u8, Failure> {
    let mut supervisor = Supervisor::connect(&args.place)?;
    let failed =
        |error: io::Error| Failure::usage_text(format!("writing {}: {error}", args.file.display()));
    let output: Box<dyn Write> = match args.file.to_str() {
        Some("-") => Box::new(io::stdout()),
        _ => Box::new(File::create(&args.file).map_err(failed)?),
    };
    let signals = EndSignals::collect().map_err(|error| Failure::other(&error))?;
    let mut recorder = Recorder::begin(output, args.interval).map_err(failed)?;
    let begin = Instant::now();
    let mut next = begin;
    loop {
        let vms = match supervisor.machines() {
            Ok(vms) => vms,
            Err(_) if recorder.count > 0 => {
                eprintln!("`weir up` has ended");
                break;
            }
            Err(failure) => return Err(failure),
        };
        recorder.add(Sample::new(&vms)).map_err(failed)?;
        if args.time.is_some_and(|time| begin.elapsed() >= time) {
            break;
        }
        // Samples that take longer than the interval do not pile up.
        next = (next + args.interval).max(Instant::now());
        sleep_until(&signals, next);
        if signals.take() {
            break;
        }
    }
    let (count, seconds) = (recorder.count, begin.elapsed().as_secs_f64());
    eprintln!("{count} samples in {seconds:.1} s");
    Ok(0)
}

/// Sleeps until `time` or a signal.
fn sleep_until(signals: &EndSignals, time: Instant) {
    let left = time.saturating_duration_since(Instant::now());
    let time = Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    };
    let mut fds = [PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN)];
    // An interrupted or failed wait only makes the caller look early.
    let _ = poll(&mut fds, Some(&time));
}

/// Draws a recording.
pub(super) fn plot(args: &PlotArgs) -> Result<u8, Failure> {
    let name = args.file.display();
    let input = File::open(&args.file)
        .map_err(|error| Failure::usage_text(format!("{name} cannot be read: {error}")))?;
    let recording = Recording::read(BufReader::new(input))
        .map_err(|error| Failure::usage_text(format!("{name}: {}", super::chain(&error))))?;
    let title = args.title.clone().unwrap_or_else(|| {
        let stem = args.file.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    });
    let plot = Plot::new(&recording, title, args.window);
    let text = match args.output.extension().and_then(|end| end.to_str()) {
        Some("html") => page(&plot),
        _ => svg(&plot),
    };
    std::fs::write(&args.output, text).map_err(|error| {
        Failure::usage_text(format!("writing {}: {error}", args.output.display()))
    })?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_becomes_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.jsonl");
        std::fs::write(&file, crate::watch::record::tests::record()).unwrap();
        for (end, begin) in [("svg", "<svg"), ("html", "<!DOCTYPE html>")] {
            let output = folder.path().join(format!("run.{end}"));
            let args = PlotArgs {
                file: file.clone(),
                output: output.clone(),
                title: None,
                window: None,
            };
            assert_eq!(plot(&args).unwrap(), 0);
            let text = std::fs::read_to_string(output).unwrap();
            assert!(text.starts_with(begin) && text.contains(">run<"));
        }
    }

    #[test]
    fn outputs_are_pictures_or_pages() {
        assert!(output("a/b.svg").is_ok() && output("b.html").is_ok());
        assert!(output("b.png").is_err() && output("svg").is_err());
    }

    #[test]
    fn what_is_no_recording_is_refused_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("text");
        std::fs::write(&file, "hello\n").unwrap();
        let mut args = PlotArgs {
            file,
            output: folder.path().join("x.svg"),
            title: None,
            window: None,
        };
        let message = plot(&args).unwrap_err().message;
        assert!(
            message.contains("no recording of `weir record`"),
            "{message}"
        );
        args.file = folder.path().join("missing");
        assert!(plot(&args).unwrap_err().message.contains("cannot be read"));
    }
}
