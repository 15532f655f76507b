//! Numbers of `linux.resources` in the units of cgroup files. Pure; docs/adr/0007-cgroup-conversions.md says why.

/// `cpu.weight` (1..=10000, default 100) from OCI `shares` (2..=262144, default 1024).
///
/// A quadratic through (2, 1), (1024, 100) and (262144, 10000) in the logarithms, so that the defaults of both meet:
/// `ceil(10^((log2(x)² + 125·log2(x)) / 612 − 7/34))`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the value lies within 1..=10000")]
pub(super) fn cpu_weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            #[allow(clippy::cast_precision_loss, reason = "below 2^18")]
            let l = (shares as f64).log2();
            let weight = 10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0);
            // 1024 must give 100 whatever the last bit of the power function is.
            (weight - 1e-9).ceil() as u64
        }
    }
}

/// `io.weight` (1..=10000) from OCI `weight` (10..=1000), linear.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.max(10)) - 10) * 9999 / 990
}

/// `memory.swap.max`, which counts swap alone, from OCI `swap`, which counts memory and swap together.
/// `None`: nothing is to be written. Both: 0 or absent is unset, -1 unlimited.
pub(super) fn swap_max(limit: i64, swap: i64) -> Result<Option<String>, &'static str> {
    match (limit, swap) {
        // As on v1, unlimited memory alone lifts the limit of both.
        (-1, 0) | (_, -1) => Ok(Some("max".into())),
        (_, 0) => Ok(None),
        (0 | -1, _) => Err("a swap limit needs a memory limit, since it counts memory and swap together"),
        (limit, swap) if swap < limit => {
            Err("the swap limit counts memory and swap together, so it cannot be below the memory limit")
        }
        (limit, swap) => Ok(Some((swap - limit).to_string())),
    }
}

/// A byte or task limit of v2: negative is `max`.
pub(super) fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_weight_meets_both_ranges_and_defaults() {
        for (shares, weight) in [
            (1, 1),
            (2, 1),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (4096, 303),
            (262_143, 10_000),
            (262_144, 10_000),
            (u64::MAX, 10_000),
        ] {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        assert!((2..262_144).step_by(97).all(|x| cpu_weight(x) <= cpu_weight(x + 97)));
        assert!((3..262_144).all(|x| (1..=10_000).contains(&cpu_weight(x))));
    }

    #[test]
    fn io_weight_is_linear_without_overflow() {
        assert_eq!([10, 17, 100, 500, 1000].map(io_weight), [1, 71, 910, 4950, 10_000]);
        assert_eq!(io_weight(3), 1);
    }

    #[test]
    fn swap_is_the_sum_less_memory() {
        assert_eq!(swap_max(100, 300), Ok(Some("200".into())));
        assert_eq!(swap_max(100, 100), Ok(Some("0".into())));
        assert_eq!(swap_max(100, -1), Ok(Some("max".into())));
        assert_eq!(swap_max(-1, 0), Ok(Some("max".into())));
        assert_eq!(swap_max(100, 0), Ok(None));
        assert!(swap_max(100, 50).is_err() && swap_max(0, 50).is_err() && swap_max(-1, 50).is_err());
    }
}
