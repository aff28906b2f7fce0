//! Content negotiation: chooses the format and the coding for a request (RFC 9110, 12.5).
//!
//! A request without a preference, with `*/*`, or with unknown formats gets the uncompressed text
//! format.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, header};

use crate::present::metrics::Format;

/// The format that the fields `Accept` of a request prefer.
pub fn format(headers: &HeaderMap) -> Format {
    best_format(values(headers, header::ACCEPT))
}

/// Whether the fields `Accept-Encoding` of a request prefer gzip.
pub fn gzip(headers: &HeaderMap) -> bool {
    prefers_gzip(values(headers, header::ACCEPT_ENCODING))
}

fn values(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
}

/// The format that `fields` prefer: each is the value of a field `Accept`.
///
/// The greatest quality wins. If several formats have the same quality, a named format wins over a
/// wildcard, and then the first one wins.
pub fn best_format<'a>(fields: impl IntoIterator<Item = &'a str>) -> Format {
    let mut best = (0, false, Format::Text);
    for item in fields.into_iter().flat_map(items) {
        let (is_named, format) = match named(&item) {
            Some(format) => (true, format),
            // A client that names no format is a person, or an older reader.
            None if matches!(&*item.value, "*/*" | "text/*") => (false, Format::Text),
            None => continue,
        };
        if (item.quality, is_named) > (best.0, best.1) && item.quality > 0 {
            best = (item.quality, is_named, format);
        }
    }
    best.2
}

/// The format that a media range names.
fn named(range: &Item<'_>) -> Option<Format> {
    let is = |name: &str, values: &[&str]| {
        let mut given = range.parameters.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        given.all(|(_, value)| values.contains(&&**value))
    };
    let has = |name: &str| range.parameters.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
    match &*range.value {
        "text/plain" => is("version", &["0.0.4"]).then_some(Format::Text),
        "application/openmetrics-text" => is("version", &["1.0.0"]).then_some(Format::OpenMetrics),
        "application/vnd.google.protobuf" => {
            let is_family = has("proto") && is("proto", &["io.prometheus.client.MetricFamily"]);
            let is_delimited = has("encoding") && is("encoding", &["delimited"]);
            (is_family && is_delimited).then_some(Format::Protobuf)
        }
        _ => None,
    }
}

/// Whether `fields` prefer gzip to no coding: each is the value of a field `Accept-Encoding`.
pub fn prefers_gzip<'a>(fields: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut gzip, mut identity, mut any) = (None, None, None);
    for item in fields.into_iter().flat_map(items) {
        let quality = match &*item.value {
            "gzip" | "x-gzip" => &mut gzip,
            "identity" => &mut identity,
            "*" => &mut any,
            _ => continue,
        };
        *quality = Some(quality.unwrap_or(0).max(item.quality));
    }
    let gzip = gzip.or(any).unwrap_or(0);
    gzip > 0 && gzip >= identity.unwrap_or(0)
}

/// An item of a list.
struct Item<'a> {
    /// The value in lower case.
    value: String,
    /// The parameters, without the quality.
    parameters: Vec<(&'a str, Cow<'a, str>)>,
    /// The quality in thousandths.
    quality: u16,
}

/// The items of a list. Malformed items are skipped.
fn items(list: &str) -> impl Iterator<Item = Item<'_>> {
    split(list, b',').filter_map(item)
}

fn item(text: &str) -> Option<Item<'_>> {
    let mut parts = split(text, b';').map(str::trim);
    let value = parts.next().filter(|value| !value.is_empty())?.to_ascii_lowercase();
    let mut item = Item { value, parameters: Vec::new(), quality: 1000 };
    for part in parts.filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=')?;
        if name.eq_ignore_ascii_case("q") {
            item.quality = quality(value)?;
        } else {
            item.parameters.push((name, unquoted(value)?));
        }
    }
    Some(item)
}

/// A quality in thousandths: 0 to 1, with at most three places.
fn quality(text: &str) -> Option<u16> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    if !matches!(whole, "0" | "1") || places.len() > 3 {
        return None;
    }
    if !places.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{whole}{places:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

/// A value, which can be in quotes.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)) };
    let quoted = quoted.strip_suffix('"')?;
    if !quoted.contains('\\') {
        return Some(Cow::Borrowed(quoted));
    }
    let mut unescaped = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        unescaped.push(if c == '\\' { chars.next()? } else { c });
    }
    Some(Cow::Owned(unescaped))
}

/// Splits at `separator`, but not in quotes.
fn split(text: &str, separator: u8) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quoted, mut escaped) = (false, false);
        let end = text.bytes().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' if quoted => {
                escaped = true;
                false
            }
            b'"' => {
                quoted = !quoted;
                false
            }
            _ => byte == separator && !quoted,
        });
        rest = end.map(|end| &text[end + 1..]);
        Some(end.map_or(text, |end| &text[..end]))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The headers that Prometheus sends (scrape/scrape.go).
    const PROMETHEUS: [(&str, Format); 6] = [
        // 2.42.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::OpenMetrics,
        ),
        // 2.42 with native histograms.
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format::Protobuf,
        ),
        // 3.0.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        // 3.0 with native histograms.
        (
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
            Format::Protobuf,
        ),
        // 2.49 and later with `scrape_protocols: [PrometheusText0.0.4]`.
        ("text/plain;version=0.0.4;q=0.2,*/*;q=0.1", Format::Text),
        // 3.x with `scrape_protocols: [PrometheusText1.0.0]`, whose names can have quotes.
        ("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.2,*/*;q=0.1", Format::Text),
    ];

    #[test]
    fn prometheus_gets_what_it_prefers() {
        for (accept, format) in PROMETHEUS {
            assert_eq!(best_format([accept]), format, "{accept}");
        }
    }

    #[test]
    fn formats() {
        const PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        const OPENMETRICS: &str = "application/openmetrics-text";
        for (fields, format) in [
            (&[][..], Format::Text),
            (&[""], Format::Text),
            (&["*/*"], Format::Text),
            // A browser.
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Format::Text),
            (&["image/png"], Format::Text),
            (&[OPENMETRICS], Format::OpenMetrics),
            (&["Application/OpenMetrics-Text ; Version=1.0.0 ; Q=0.5"], Format::OpenMetrics),
            (&["application/openmetrics-text;version=\"1.0.0\""], Format::OpenMetrics),
            (&["application/openmetrics-text;version=\"1\\.0.0\""], Format::OpenMetrics),
            (&["application/openmetrics-text;version=0.0.1"], Format::Text),
            (&["application/openmetrics-text;version=2.0.0, text/plain;q=0.1"], Format::Text),
            (&[PROTOBUF], Format::Protobuf),
            // Other encodings, other messages.
            (&["application/vnd.google.protobuf"], Format::Text),
            (
                &["application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily"],
                Format::Text,
            ),
            (
                &[
                    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                ],
                Format::Text,
            ),
            (&["application/vnd.google.protobuf;proto=a.B;encoding=delimited"], Format::Text),
            // The quality decides, over all fields.
            (&["text/plain;q=0.9", "application/openmetrics-text;q=0.95"], Format::OpenMetrics),
            (&["text/plain;q=0.9,application/openmetrics-text;q=0.899"], Format::Text),
            (&["text/plain,application/openmetrics-text"], Format::Text),
            (&["application/openmetrics-text,text/plain"], Format::OpenMetrics),
            (&["*/*,application/openmetrics-text"], Format::OpenMetrics),
            (&["application/openmetrics-text;q=0"], Format::Text),
            (&["application/openmetrics-text;q=0.000,*/*;q=0.1"], Format::Text),
            // Not well-formed.
            (&["application/openmetrics-text;q=1.5"], Format::Text),
            (&["application/openmetrics-text;q=0.1234"], Format::Text),
            (&["application/openmetrics-text;q=-1"], Format::Text),
            (&["application/openmetrics-text;q=+0.5"], Format::Text),
            (&["application/openmetrics-text;version"], Format::Text),
            (&["application/openmetrics-text;version=\"1.0.0"], Format::Text),
            (&[",,;q=1,application/openmetrics-text;;q=1"], Format::OpenMetrics),
            (&["text/html;a=\"x,application/openmetrics-text\""], Format::Text),
        ] {
            assert_eq!(best_format(fields.iter().copied()), format, "{fields:?}");
        }
    }

    #[test]
    fn codings() {
        for (fields, gzip) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["gzip, deflate, br"], true),
            (&["br"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["gzip;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["identity", "gzip;q=0.5"], false),
            (&["identity;q=0.5", "gzip;q=0.5"], true),
            (&["identity;q=0.5, *"], true),
            (&["identity"], false),
            (&["gzipped"], false),
        ] {
            assert_eq!(prefers_gzip(fields.iter().copied()), gzip, "{fields:?}");
        }
    }

    #[test]
    fn qualities() {
        for (text, thousandths) in [
            ("1", Some(1000)),
            ("0", Some(0)),
            ("1.000", Some(1000)),
            ("0.5", Some(500)),
            ("0.", Some(0)),
            ("0.001", Some(1)),
            ("1.001", None),
            ("2", None),
            ("", None),
            (".5", None),
            ("0.+1", None),
        ] {
            assert_eq!(quality(text), thousandths, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in "[a-z*/;,=\".\\\\ q0-9]{0,80}|\\PC{0,40}") {
            best_format([&*text]);
            prefers_gzip([&*text]);
            // Malformed items change nothing.
            let with = format!("{PROTOBUF_FIRST}, {}", text.replace(['"', '\\'], ""));
            prop_assert_eq!(best_format([&*with]), Format::Protobuf);
        }
    }

    const PROTOBUF_FIRST: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
}
