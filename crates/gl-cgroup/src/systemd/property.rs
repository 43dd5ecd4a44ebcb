//! Properties of a unit: their types, and those that stand for limits.
//!
//! Limits come from the settings of the v2 driver, file by file, so that systemd is told what the
//! kernel is told. A file that no property stands for is written alone: systemd then leaves it as it
//! is, as the cgroup is delegated. org.freedesktop.systemd1(5), systemd.resource-control(5).

use super::wire::Writer;
use crate::v2::Setting;

/// One value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i32),
    U64(u64),
    Text(String),
    Texts(Vec<String>),
    /// A mask of processors or memory nodes, the lowest in the first byte.
    Bytes(Vec<u8>),
    /// Process ids.
    Pids(Vec<u32>),
    /// A value for each device.
    Devices(Vec<(String, u64)>),
}

/// A property with its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: Value,
}

impl Property {
    pub(crate) fn new(name: &str, value: Value) -> Self {
        Self {
            name: name.to_owned(),
            value,
        }
    }
}

impl Value {
    fn signature(&self) -> &'static str {
        match self {
            Self::Bool(_) => "b",
            Self::Int(_) => "i",
            Self::U64(_) => "t",
            Self::Text(_) => "s",
            Self::Texts(_) => "as",
            Self::Bytes(_) => "ay",
            Self::Pids(_) => "au",
            Self::Devices(_) => "a(st)",
        }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Self::Bool(value) => out.bool(*value),
            Self::Int(value) => out.u32(value.cast_unsigned()),
            Self::U64(value) => out.u64(*value),
            Self::Text(text) => out.string(text),
            Self::Texts(texts) => out.array(4, |out| texts.iter().for_each(|t| out.string(t))),
            Self::Bytes(bytes) => out.array(1, |out| bytes.iter().for_each(|b| out.byte(*b))),
            Self::Pids(pids) => out.array(4, |out| pids.iter().for_each(|p| out.u32(*p))),
            Self::Devices(devices) => out.array(8, |out| {
                for (node, value) in devices {
                    out.align(8);
                    out.string(node);
                    out.u64(*value);
                }
            }),
        }
    }
}

/// Writes properties as `a(sv)`.
pub(crate) fn write_all(properties: &[Property], out: &mut Writer) {
    out.array(8, |out| {
        for property in properties {
            out.align(8);
            out.string(&property.name);
            out.signature(property.value.signature());
            property.value.write(out);
        }
    });
}

/// The properties that stand for settings, in their order; a later value takes the place of a former
/// one, as in the file. `period` is the period of `cpu.max` that is there, in microseconds.
pub(crate) fn of_settings(settings: &[Setting], period: u64) -> Vec<Property> {
    let mut all: Vec<Property> = Vec::new();
    for setting in settings {
        for new in of_setting(&setting.file, &setting.value, period) {
            match (all.iter_mut().find(|one| one.name == new.name), new.value) {
                (Some(old), Value::Devices(more)) => match &mut old.value {
                    Value::Devices(devices) => devices.extend(more),
                    other => *other = Value::Devices(more),
                },
                (Some(old), value) => old.value = value,
                (None, value) => all.push(Property {
                    name: new.name,
                    value,
                }),
            }
        }
    }
    all
}

fn of_setting(file: &str, value: &str, period: u64) -> Vec<Property> {
    let simple = |name, value: Option<u64>| {
        let property = value.map(|value| Property::new(name, Value::U64(value)));
        property.into_iter().collect()
    };
    let mask = |name| {
        let property = mask(value).map(|mask| Property::new(name, Value::Bytes(mask)));
        property.into_iter().collect()
    };
    match file {
        "memory.max" => simple("MemoryMax", size(value)),
        "memory.high" => simple("MemoryHigh", size(value)),
        "memory.low" => simple("MemoryLow", size(value)),
        "memory.min" => simple("MemoryMin", size(value)),
        "memory.swap.max" => simple("MemorySwapMax", size(value)),
        "pids.max" => simple("TasksMax", size(value)),
        "cpu.weight" => simple("CPUWeight", value.trim().parse().ok()),
        // The lowest weight there is, by its own word.
        "cpu.idle" if value.trim() == "1" => simple("CPUWeight", Some(0)),
        "cpu.max" => quota(value, period),
        "cpuset.cpus" => mask("AllowedCPUs"),
        "cpuset.mems" => mask("AllowedMemoryNodes"),
        "io.weight" => weight(value).into_iter().collect(),
        "io.max" => rates(value),
        _ => Vec::new(),
    }
}

/// A number with the kernel's suffixes, or `max`.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text == "max" {
        return Some(u64::MAX);
    }
    let shift = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => 10,
        b'm' => 20,
        b'g' => 30,
        b't' => 40,
        _ => return text.parse().ok(),
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    number.checked_mul(1 << shift)
}

/// How much of a second may be used. systemd keeps whole percents, so it is rounded up to one: the
/// file has the exact value, and what a reload writes there is never stricter.
fn quota(value: &str, period: u64) -> Vec<Property> {
    const STEP: u64 = 10_000;
    let mut words = value.split_ascii_whitespace();
    let quota = words.next();
    let new_period = words.next().and_then(|word| word.parse().ok());
    let period = new_period.unwrap_or(period);
    let per_second = match quota {
        Some("max") => Some(u64::MAX),
        Some(quota) => quota
            .parse::<u64>()
            .ok()
            .and_then(|quota| quota.checked_mul(1_000_000)?.checked_div(period))
            .and_then(|time| time.max(1).checked_next_multiple_of(STEP)),
        None => None,
    };
    let of = |name, value: Option<u64>| value.map(|value| Property::new(name, Value::U64(value)));
    let both = [
        of("CPUQuotaPerSecUSec", per_second),
        of("CPUQuotaPeriodUSec", new_period),
    ];
    both.into_iter().flatten().collect()
}

/// A list such as `0-3,7` as bits.
fn mask(list: &str) -> Option<Vec<u8>> {
    /// More than any kernel has.
    const MOST: usize = 1 << 16;
    let mut bits = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MOST {
            return None;
        }
        for bit in first..=last {
            if bits.len() <= bit / 8 {
                bits.resize(bit / 8 + 1, 0);
            }
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    (!bits.is_empty()).then_some(bits)
}

fn weight(value: &str) -> Option<Property> {
    let (which, weight) = value.trim().split_once(' ')?;
    let weight = weight.trim().parse().ok()?;
    Some(match which {
        "default" => Property::new("IOWeight", Value::U64(weight)),
        node => Property::new(
            "IODeviceWeight",
            Value::Devices(vec![(device(node), weight)]),
        ),
    })
}

fn rates(value: &str) -> Vec<Property> {
    let mut words = value.split_ascii_whitespace();
    let Some(node) = words.next() else {
        return Vec::new();
    };
    let rate = |word: &str| {
        let (key, rate) = word.split_once('=')?;
        let name = match key {
            "rbps" => "IOReadBandwidthMax",
            "wbps" => "IOWriteBandwidthMax",
            "riops" => "IOReadIOPSMax",
            "wiops" => "IOWriteIOPSMax",
            _ => return None,
        };
        let value = Value::Devices(vec![(device(node), size(rate)?)]);
        Some(Property::new(name, value))
    };
    words.filter_map(rate).collect()
}

fn device(numbers: &str) -> String {
    format!("/dev/block/{numbers}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &[(&'static str, &str)]) -> Vec<(String, Value)> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(file, value)| Setting::new("f", *file, value))
            .collect();
        of_settings(&settings, 100_000)
            .into_iter()
            .map(|property| (property.name, property.value))
            .collect()
    }

    #[test]
    fn settings_become_properties_of_the_same_meaning() {
        let max = u64::MAX;
        for (file, value, want) in [
            ("memory.max", "67108864", vec![("MemoryMax", 67_108_864)]),
            ("memory.max", "max", vec![("MemoryMax", max)]),
            ("memory.high", "1M", vec![("MemoryHigh", 1 << 20)]),
            ("memory.low", "4096", vec![("MemoryLow", 4096)]),
            ("memory.swap.max", "0", vec![("MemorySwapMax", 0)]),
            ("pids.max", "33", vec![("TasksMax", 33)]),
            ("pids.max", "max", vec![("TasksMax", max)]),
            ("cpu.weight", "39", vec![("CPUWeight", 39)]),
            ("cpu.idle", "1", vec![("CPUWeight", 0)]),
            ("cpu.idle", "0", vec![]),
            (
                "cpu.max",
                "50000 100000",
                vec![
                    ("CPUQuotaPerSecUSec", 500_000),
                    ("CPUQuotaPeriodUSec", 100_000),
                ],
            ),
            ("cpu.max", "33333", vec![("CPUQuotaPerSecUSec", 340_000)]),
            (
                "cpu.max",
                "max 50000",
                vec![("CPUQuotaPerSecUSec", max), ("CPUQuotaPeriodUSec", 50_000)],
            ),
            ("io.weight", "default 200", vec![("IOWeight", 200)]),
            ("hugetlb.2MB.max", "0", vec![]),
            ("memory.max", "nonsense", vec![]),
        ] {
            let want: Vec<_> = want
                .into_iter()
                .map(|(name, value)| (name.to_owned(), Value::U64(value)))
                .collect();
            assert_eq!(of(&[(file, value)]), want, "{file} {value}");
        }
    }

    #[test]
    fn lists_become_masks_with_the_lowest_first() {
        for (list, want) in [
            ("0", vec![1]),
            ("0-3,9", vec![0x0f, 0x02]),
            ("8", vec![0, 1]),
        ] {
            let want = vec![("AllowedCPUs".to_owned(), Value::Bytes(want))];
            assert_eq!(of(&[("cpuset.cpus", list)]), want, "{list}");
        }
        assert_eq!(of(&[("cpuset.cpus", "0-99999999")]), []);
    }

    #[test]
    fn rates_of_several_devices_are_one_property_each() {
        let got = of(&[
            ("io.max", "8:0 rbps=100"),
            ("io.max", "8:16 rbps=max"),
            ("io.max", "8:0 wiops=5"),
        ]);
        let node = |numbers: &str, value| (format!("/dev/block/{numbers}"), value);
        let want = vec![
            (
                "IOReadBandwidthMax".to_owned(),
                Value::Devices(vec![node("8:0", 100), node("8:16", u64::MAX)]),
            ),
            (
                "IOWriteIOPSMax".to_owned(),
                Value::Devices(vec![node("8:0", 5)]),
            ),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn the_last_value_of_a_file_counts() {
        let got = of(&[("memory.max", "1"), ("memory.max", "2")]);
        assert_eq!(got, vec![("MemoryMax".to_owned(), Value::U64(2))]);
    }

    #[test]
    fn properties_are_written_as_variants() {
        let mut out = Writer::default();
        let properties = [
            Property::new("A", Value::Bool(true)),
            Property::new("B", Value::Pids(vec![7])),
        ];
        write_all(&properties, &mut out);
        let want: Vec<u8> = [
            &b"\x2c\0\0\0\0\0\0\0"[..],
            b"\x01\0\0\0A\0\x01b\0\0\0\0\x01\0\0\0",
            b"\x01\0\0\0B\0\x02au\0\0\0\x04\0\0\0\x07\0\0\0",
        ]
        .concat();
        let mut want = want;
        // Two structs of 16 and 20 bytes; the second one is aligned already.
        want[0] = u8::try_from(want.len() - 8).unwrap();
        assert_eq!(out.bytes(), want);
    }
}
