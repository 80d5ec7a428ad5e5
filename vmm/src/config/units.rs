//! Sizes, percentages and times as people write them.

use std::time::Duration;

/// Suffixes of sizes. Only powers of two: "GB" means two different things to two people.
const SIZES: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
/// Suffixes of times, in milliseconds.
const TIMES: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];

/// Bytes: a whole number with KiB, MiB, GiB or TiB.
///
/// ```
/// assert_eq!(weir_vmm::config::units::size("512MiB"), Ok(512 << 20));
/// assert!(weir_vmm::config::units::size("1Gb").is_err());
/// ```
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!(
            "\"{text}\" is no size: write a whole number and KiB, MiB, GiB or TiB, such as \
             \"512MiB\""
        )
    };
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let (_, shift) = SIZES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    number
        .checked_mul(1 << shift)
        .ok_or_else(|| format!("\"{text}\" is more bytes than can be counted"))
}

/// Percent from 1 to 100.
pub fn percent(text: &str) -> Result<u32, String> {
    match split(text) {
        Some((number @ 1..=100, "%")) => Ok(number as u32),
        _ => Err(format!(
            "\"{text}\" is no ceiling: write a percentage from \"1%\" to \"100%\""
        )),
    }
}

/// A time above zero: a whole number with ms, s, min or h.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("\"{text}\" is no time: write a whole number and ms, s, min or h, such as \"10s\"")
    };
    let (number, unit) = split(text).filter(|(n, _)| *n > 0).ok_or_else(wrong)?;
    let (_, millis) = TIMES
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(wrong)?;
    number
        .checked_mul(*millis)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// A number and what stands behind it, with or without a space between.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    Some((text[..end].parse().ok()?, text[end..].trim_start()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("1KiB"), Ok(1024));
        assert_eq!(size("3 GiB"), Ok(3 << 30));
        for wrong in [
            "1Gb",
            "1G",
            "GiB",
            "",
            "1.5GiB",
            "-1GiB",
            "1024",
            "1 gib",
            "99999999TiB",
        ] {
            assert!(size(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }

    #[test]
    fn percentages() {
        assert_eq!(percent("50%"), Ok(50));
        for wrong in ["0%", "101%", "50", "half", "1.5%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2min"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["10", "0s", "1d", "s", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in ".*") {
            let _ = (size(&text), percent(&text), duration(&text));
        }

        #[test]
        fn every_whole_size_is_read_back(number in 0u64..1 << 20, unit in 0usize..4) {
            let (name, shift) = SIZES[unit];
            prop_assert_eq!(size(&format!("{number}{name}")), Ok(number << shift));
        }
    }
}
