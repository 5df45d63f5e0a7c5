//! Replacements of matches: bytes, and groups of the match.

use bytes::Bytes;
use regex::bytes::Captures;

use super::expression::Expression;

/// A replacement, as Python's `re.sub` has it: `\1`, `\g<1>`, `\g<name>`, `\n`, `\r`, `\t`, `\xHH`, `\\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Bytes(Bytes),
    Group(usize),
}

impl Template {
    /// Returns the replacement for matches of `expression`. An error is one line.
    pub fn new(text: &[u8], expression: &Expression) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), Vec::new(), text);
        while let [first, behind @ ..] = rest {
            if *first != b'\\' {
                plain.push(*first);
                rest = behind;
                continue;
            }
            let (part, behind) = escape(behind, expression)?;
            match part {
                Part::Bytes(bytes) => plain.extend_from_slice(&bytes),
                Part::Group(group) => {
                    if !plain.is_empty() {
                        parts.push(Part::Bytes(std::mem::take(&mut plain).into()));
                    }
                    parts.push(Part::Group(group));
                }
            }
            rest = behind;
        }
        if !plain.is_empty() {
            parts.push(Part::Bytes(plain.into()));
        }
        Ok(Self(parts))
    }

    /// Returns the bytes, if they are the same for every match.
    pub fn fixed(&self) -> Option<Bytes> {
        match &self.0[..] {
            [] => Some(Bytes::new()),
            [Part::Bytes(bytes)] => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Appends the bytes for one match.
    pub fn expand(&self, captures: &Captures<'_>, into: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Bytes(bytes) => into.extend_from_slice(bytes),
                Part::Group(group) => into.extend_from_slice(captures.get(*group).map_or(&[][..], |found| found.as_bytes())),
            }
        }
    }
}

/// Returns what a backslash with the text behind it means, and the rest of the text.
fn escape<'t>(text: &'t [u8], expression: &Expression) -> Result<(Part, &'t [u8]), String> {
    let byte = |byte: u8, rest: &'t [u8]| Ok((Part::Bytes(vec![byte].into()), rest));
    match text {
        [] => Err("ends with a backslash; write \\\\ for one".to_owned()),
        [b'\\', rest @ ..] => byte(b'\\', rest),
        [b'n', rest @ ..] => byte(b'\n', rest),
        [b'r', rest @ ..] => byte(b'\r', rest),
        [b't', rest @ ..] => byte(b'\t', rest),
        [b'x', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            let digit = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
            byte(digit(*high) << 4 | digit(*low), rest)
        }
        [first @ b'1'..=b'9', rest @ ..] => {
            let (number, rest) = match rest {
                [second @ b'0'..=b'9', rest @ ..] => (usize::from(first - b'0') * 10 + usize::from(second - b'0'), rest),
                _ => (usize::from(first - b'0'), rest),
            };
            Ok((Part::Group(group(&number.to_string(), expression)?), rest))
        }
        [b'g', b'<', rest @ ..] => {
            let Some(end) = rest.iter().position(|byte| *byte == b'>') else {
                return Err("\\g< has no >; write \\g<name>".to_owned());
            };
            let name = String::from_utf8_lossy(&rest[..end]);
            Ok((Part::Group(group(&name, expression)?), &rest[end + 1..]))
        }
        [other, ..] => {
            let other = other.escape_ascii();
            Err(format!("\\{other} means nothing; there are \\1, \\g<name>, \\n, \\r, \\t, \\xHH, and \\\\ for a backslash"))
        }
    }
}

fn group(name: &str, expression: &Expression) -> Result<usize, String> {
    let names: Vec<Option<&str>> = expression.groups().collect();
    let found = match name.parse::<usize>() {
        Ok(number) => Some(number).filter(|number| *number < names.len()),
        Err(_) => names.iter().position(|known| *known == Some(name)),
    };
    found.ok_or_else(|| {
        let known = names.iter().flatten().map(|name| format!(", {name}")).collect::<String>();
        match names.len() - 1 {
            0 => format!("group {name}: the expression has none; put the part to keep in parentheses"),
            1 => format!("group {name}: the expression has group 1 alone{known}"),
            most => format!("group {name}: the expression has 1 to {most}{known}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(pattern: &str, template: &str, hay: &str) -> Result<String, String> {
        let expression = Expression::new(pattern.as_bytes()).expect(pattern);
        let template = Template::new(template.as_bytes(), &expression)?;
        let captures = expression.captures(hay.as_bytes(), 0).expect("a match");
        let mut bytes = Vec::new();
        template.expand(&captures, &mut bytes);
        assert!(template.fixed().is_none_or(|fixed| fixed == bytes));
        Ok(String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn groups_and_escapes_stand_for_bytes() {
        let pattern = r"(?P<key>\w+)=(\w+)(x)?";
        for (template, expected) in [(r"\2=\1", "b=a"), (r"\g<key>\t\x41\\n\n", "a\tA\\n\n"), (r"<\g<0>\3>", "<a=b>"), ("", "")] {
            assert_eq!(expanded(pattern, template, "a=b").as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn wrong_replacements_are_refused_with_what_there_is() {
        for (pattern, template, error) in [
            ("a", "\\", "ends with a backslash"),
            ("a", r"\1", "group 1: the expression has none"),
            ("(a)(?P<b>b)", r"\g<c>", "group c: the expression has 1 to 2, b"),
            ("(a)(?P<b>b)", r"\3", "group 3"),
            ("(a)", r"\2", "group 2: the expression has group 1 alone"),
            ("(a)", r"\g<1", "has no >"),
            ("(a)", r"\q", "\\q means nothing"),
            ("(a)", r"\x4", "\\x means nothing"),
        ] {
            let refused = expanded(pattern, template, "ab").expect_err(error);
            assert!(refused.contains(error), "{refused}");
        }
    }
}
