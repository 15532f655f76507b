//! The text format of OpenMetrics 1.0: one exposition with the metrics of one container (docs/metrics.md).

use std::fmt::Write as _;

use libcontainer::cgroups::{Family, Kind, Number};

/// Before every name.
const PREFIX: &str = "wherry_container_";

/// The whole exposition, `# EOF` included.
pub fn exposition(id: &str, families: &[Family]) -> String {
    let mut out = String::new();
    for family in families {
        let name = format!("{PREFIX}{}", family.name);
        let (kind, suffix) = match family.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
        };
        let _ = writeln!(out, "# TYPE {name} {kind}");
        if !family.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {name} {}", family.unit);
        }
        let _ = writeln!(out, "# HELP {name} {}", escaped(family.help));
        for sample in &family.samples {
            let _ = write!(out, "{name}{suffix}{{id=\"{}\"", escaped(id));
            for (label, text) in &sample.labels {
                let _ = write!(out, ",{label}=\"{}\"", escaped(text));
            }
            let _ = writeln!(out, "}} {}", number(sample.value));
        }
    }
    out + "# EOF\n"
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// In the base unit: a binary fraction would round what the kernel counted.
fn number(value: Number) -> String {
    match value {
        Number::Integer(n) => n.to_string(),
        Number::Nanoseconds(n) => format!("{}.{:09}", n / 1_000_000_000, n % 1_000_000_000),
        Number::TenThousandths(n) => format!("{}.{:04}", n / 10_000, n % 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libcontainer::cgroups::Sample;

    #[test]
    fn an_exposition_has_the_descriptions_the_samples_and_an_end() {
        let sample = |labels, value| vec![Sample { labels, value }];
        let families = [
            Family {
                name: "cpu_usage_seconds",
                kind: Kind::Counter,
                unit: "seconds",
                help: "a \"b\"",
                samples: sample(vec![], Number::Nanoseconds(1_000_000_002)),
            },
            Family {
                name: "pids",
                kind: Kind::Gauge,
                unit: "",
                help: "c",
                samples: sample(vec![("l", "x\n\\".into())], Number::Integer(u64::MAX)),
            },
        ];
        let wanted = "# TYPE wherry_container_cpu_usage_seconds counter\n\
            # UNIT wherry_container_cpu_usage_seconds seconds\n\
            # HELP wherry_container_cpu_usage_seconds a \\\"b\\\"\n\
            wherry_container_cpu_usage_seconds_total{id=\"web\"} 1.000000002\n\
            # TYPE wherry_container_pids gauge\n\
            # HELP wherry_container_pids c\n\
            wherry_container_pids{id=\"web\",l=\"x\\n\\\\\"} 18446744073709551615\n\
            # EOF\n";
        assert_eq!(exposition("web", &families), wanted);
        assert_eq!(exposition("web", &[]), "# EOF\n");
    }

    #[test]
    fn shares_have_four_digits() {
        assert_eq!(number(Number::TenThousandths(10_000)), "1.0000");
        assert_eq!(number(Number::TenThousandths(7)), "0.0007");
    }
}
