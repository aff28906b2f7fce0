//! Decoders of the exposition formats, written from the specifications. They share no code with the
//! encoders.

use std::collections::{BTreeMap, BTreeSet};

/// The samples of an exposition, as Prometheus stores them: `name{labels}` and the value.
pub(crate) type Samples = BTreeMap<String, f64>;

/// The samples of the text format.
pub(crate) fn text(text: &str) -> Samples {
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

fn sample(line: &str) -> (String, f64) {
    let (series, value) = line.rsplit_once(' ').expect("a series and its value");
    (series.to_owned(), value.parse().expect("a number"))
}

/// The samples of an OpenMetrics exposition. Checks all rules that matter here (the section "ABNF"
/// and the rules on types, in the specification 1.0.0).
pub(crate) fn openmetrics(text: &str) -> Samples {
    let lines = text.strip_suffix("# EOF\n").expect("ends in EOF").lines();
    let (mut samples, mut families) = (Samples::new(), BTreeMap::<String, String>::new());
    let (mut family, mut begun) = (String::new(), false);
    let mut units = BTreeSet::new();
    for line in lines {
        let Some(described) = line.strip_prefix("# ") else {
            let kind = families[&family].as_str();
            let (series, value) = sample(line);
            let name = series.split('{').next().expect("a name");
            let suffix = name.strip_prefix(&*family).expect("the samples of a family are together");
            let allowed: &[&str] = match kind {
                "counter" => &["_total", "_created"],
                "gauge" => &[""],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum", "_created"],
                _ => panic!("{line}: of no type"),
            };
            assert!(allowed.contains(&suffix), "{line}: of a {kind}");
            assert!(samples.insert(series, value).is_none(), "{line}: twice");
            begun = true;
            continue;
        };
        let mut words = described.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let (what, name, rest) = (word(), word(), word());
        match what {
            "TYPE" => {
                assert!(families.insert(name.into(), rest.into()).is_none(), "{line}: twice");
                (family, begun) = (name.into(), false);
            }
            "UNIT" => assert!(name.ends_with(&format!("_{rest}")) && units.insert(name), "{line}"),
            "HELP" => assert!(!rest.replace("\\\"", "").contains('"'), "{line}: unescaped"),
            _ => panic!("{line}: unknown"),
        }
        assert!(name == family && !begun, "{line}: out of order");
    }
    // A sample must not match the name of another family.
    for (name, kind) in &families {
        for suffix in ["_total", "_created", "_info", "_bucket", "_count", "_sum"] {
            let clash = families.contains_key(&format!("{name}{suffix}"));
            assert!(!clash, "{name}{suffix} beside the {kind} {name}");
        }
    }
    samples
}

/// A family of the protobuf format.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) help: String,
    pub(crate) kind: u64,
    pub(crate) unit: String,
    pub(crate) metrics: Vec<Metric>,
}

#[derive(Debug, Default)]
pub(crate) struct Metric {
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) number: Option<f64>,
    pub(crate) histogram: Option<Histogram>,
    /// Seconds and nanoseconds.
    pub(crate) created: Option<(u64, u64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    pub(crate) count: u64,
    pub(crate) sum: f64,
    /// Upper bounds and cumulative counts.
    pub(crate) classic: Vec<(f64, u64)>,
    pub(crate) schema: i64,
    pub(crate) zero_threshold: f64,
    pub(crate) zero_count: u64,
    spans: Vec<(i64, u64)>,
    deltas: Vec<i64>,
}

impl Histogram {
    /// Index and count of the native buckets.
    pub(crate) fn native(&self) -> Vec<(i64, i64)> {
        let (mut next, mut count, mut deltas) = (0, 0, self.deltas.iter());
        let mut buckets = Vec::new();
        for &(offset, length) in &self.spans {
            next += offset;
            for _ in 0..length {
                count += deltas.next().expect("a delta for each bucket");
                buckets.push((next, count));
                next += 1;
            }
        }
        assert!(deltas.next().is_none(), "a bucket for each delta");
        buckets
    }

    /// The upper bound of a native bucket in seconds.
    pub(crate) fn bound(&self, index: i64) -> f64 {
        (index as f64 / (self.schema as f64).exp2()).exp2()
    }
}

/// The value of a field.
enum Field<'a> {
    Varint(u64),
    Fixed(u64),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    fn varint(&self) -> u64 {
        let Self::Varint(value) = self else { panic!("no varint") };
        *value
    }

    fn zigzag(&self) -> i64 {
        zigzag(self.varint())
    }

    fn double(&self) -> f64 {
        let Self::Fixed(bits) = self else { panic!("no double") };
        f64::from_bits(*bits)
    }

    fn bytes(&self) -> &'a [u8] {
        let Self::Bytes(bytes) = self else { panic!("no bytes") };
        bytes
    }

    fn string(&self) -> String {
        str::from_utf8(self.bytes()).expect("text").to_owned()
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint of more than ten bytes");
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(length as usize);
    *bytes = rest;
    taken
}

/// The fields of a message by number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let value = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)),
            1 => Field::Fixed(u64::from_le_bytes(take(&mut bytes, 8).try_into().expect("eight"))),
            2 => {
                let length = varint(&mut bytes);
                Field::Bytes(take(&mut bytes, length))
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((tag >> 3, value));
    }
    fields
}

/// The families of the protobuf format. Fields have the numbers of metrics.proto in Prometheus'
/// client_model.
pub(crate) fn protobuf(mut bytes: &[u8]) -> Vec<Family> {
    let mut families = Vec::new();
    while !bytes.is_empty() {
        let length = varint(&mut bytes);
        families.push(family(take(&mut bytes, length)));
    }
    families
}

fn family(bytes: &[u8]) -> Family {
    let mut family = Family::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => family.name = field.string(),
            2 => family.help = field.string(),
            3 => family.kind = field.varint(),
            4 => family.metrics.push(metric(field.bytes())),
            5 => family.unit = field.string(),
            _ => panic!("field {number} of a family"),
        }
    }
    family
}

fn metric(bytes: &[u8]) -> Metric {
    let mut metric = Metric::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => {
                let mut label = [String::new(), String::new()];
                for (number, field) in fields(field.bytes()) {
                    label[number as usize - 1] = field.string();
                }
                metric.labels.push(label.into());
            }
            // A gauge or a counter.
            2 | 3 => {
                metric.number = Some(0.0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => metric.number = Some(field.double()),
                        3 => metric.created = Some(timestamp(field.bytes())),
                        _ => panic!("field {number} of a number"),
                    }
                }
            }
            7 => metric.histogram = Some(histogram(field.bytes(), &mut metric.created)),
            _ => panic!("field {number} of a metric"),
        }
    }
    metric
}

fn timestamp(bytes: &[u8]) -> (u64, u64) {
    let mut parts = (0, 0);
    for (number, field) in fields(bytes) {
        match number {
            1 => parts.0 = field.varint(),
            2 => parts.1 = field.varint(),
            _ => panic!("field {number} of a timestamp"),
        }
    }
    parts
}

fn histogram(bytes: &[u8], created: &mut Option<(u64, u64)>) -> Histogram {
    let mut histogram = Histogram::default();
    for (number, field) in fields(bytes) {
        match number {
            1 => histogram.count = field.varint(),
            2 => histogram.sum = field.double(),
            3 => {
                let (mut bound, mut count) = (0.0, 0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => count = field.varint(),
                        2 => bound = field.double(),
                        _ => panic!("field {number} of a bucket"),
                    }
                }
                histogram.classic.push((bound, count));
            }
            5 => histogram.schema = field.zigzag(),
            6 => histogram.zero_threshold = field.double(),
            7 => histogram.zero_count = field.varint(),
            12 => {
                let (mut offset, mut length) = (0, 0);
                for (number, field) in fields(field.bytes()) {
                    match number {
                        1 => offset = field.zigzag(),
                        2 => length = field.varint(),
                        _ => panic!("field {number} of a span"),
                    }
                }
                histogram.spans.push((offset, length));
            }
            13 => {
                let mut packed = field.bytes();
                while !packed.is_empty() {
                    histogram.deltas.push(zigzag(varint(&mut packed)));
                }
            }
            15 => *created = Some(timestamp(field.bytes())),
            _ => panic!("field {number} of a histogram"),
        }
    }
    histogram
}

/// The samples that Prometheus makes of families if it takes the classic buckets.
pub(crate) fn classic_samples(families: &[Family]) -> Samples {
    let mut samples = Samples::new();
    for family in families {
        for metric in &family.metrics {
            let mut add = |suffix: &str, le: Option<f64>, value: f64| {
                let le = le.map(|le| match le {
                    f64::INFINITY => "le=\"+Inf\"".to_owned(),
                    le => format!("le=\"{le}\""),
                });
                let escaped = |value: &str| {
                    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
                };
                let labels = metric.labels.iter();
                let labels = labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
                let labels = labels.chain(le).collect::<Vec<_>>().join(",");
                let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
                samples.insert(format!("{}{suffix}{labels}", family.name), value);
            };
            if let Some(number) = metric.number {
                add("", None, number);
            }
            if let Some(histogram) = &metric.histogram {
                for &(bound, count) in &histogram.classic {
                    add("_bucket", Some(bound), count as f64);
                }
                add("_bucket", Some(f64::INFINITY), histogram.count as f64);
                add("_count", None, histogram.count as f64);
                add("_sum", None, histogram.sum);
            }
        }
    }
    samples
}
