//! Texts that are nearly an address: the slip in them, and the address that was meant.

use super::Address;

/// Words that stand for ports in other programs.
const WORDS: &[(&str, u16)] = &[
    ("http", 80),
    ("https", 443),
    ("ws", 80),
    ("wss", 443),
    ("ftp", 21),
    ("ssh", 22),
    ("smtp", 25),
    ("imap", 143),
    ("ldap", 389),
    ("mysql", 3306),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("amqp", 5672),
    ("redis", 6379),
    ("mongodb", 27017),
];

fn port_of(word: &str) -> Option<u16> {
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, port)| *port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Returns ` ("host:80")` if `text` is an address, or nothing.
fn instead(text: &str) -> String {
    if Address::read(text).is_ok() { format!(" ({text:?})") } else { String::new() }
}

/// Explains why `text` is no address, and names the address that was meant, if both are known.
pub(super) fn of(text: &str) -> Option<String> {
    let trimmed = text.trim();
    // No slip of a path or of a descriptor is known.
    if trimmed.is_empty() || text.starts_with("unix:") || text.starts_with("fd:") {
        return None;
    }
    if trimmed != text {
        return Some(format!("there is white space around it: take it away{}", instead(trimmed)));
    }
    if text.starts_with('[') {
        return brackets(text);
    }
    url(text)
        .or_else(|| two_addresses(text))
        .or_else(|| path(text))
        .or_else(|| user(text))
        .or_else(|| port(text))
        .or_else(|| colons(text))
}

/// Explains why `host` is no host beside `port`, if that is known.
pub(super) fn of_host(host: &str, port: u16) -> Option<String> {
    let fix = |bare: &str| {
        let whole = if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") };
        if Address::read(&whole).is_ok() { format!(" ({bare:?})") } else { String::new() }
    };
    let trimmed = host.trim();
    if trimmed != host && !trimmed.is_empty() {
        return Some(format!("there is white space around the host: take it away{}", fix(trimmed)));
    }
    if let Ok(Address::Inet { host: bare, port: own }) = Address::read(host)
        && host.contains(':')
    {
        let which = if own == port { String::new() } else { format!(", and it is another ({own})") };
        return Some(format!(
            "the host has a port already, beside the {port} that was given{which}: give the host alone ({bare:?})"
        ));
    }
    let (scheme, rest) = host.split_once("://")?;
    Some(format!("{:?} is no part of a host: take it away{}", format!("{scheme}://"), fix(authority(rest))))
}

/// Returns the host and the port of a URL's part after its scheme.
fn authority(rest: &str) -> &str {
    let host = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    host.rsplit_once('@').map_or(host, |(_, host)| host)
}

fn url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = authority(rest);
    let mut meant = instead(host);
    if meant.is_empty()
        && let Some(port) = port_of(scheme)
    {
        meant = instead(&format!("{host}:{port}"));
    }
    let what = if host.len() < rest.trim_end_matches('/').len() { "what stands around host and port" } else { "it" };
    Some(format!("{:?} is no part of an address: take {what} away{meant}", format!("{scheme}://")))
}

/// Explains an address in the form of `ssh -L`: `port:host:port` and `host:port:host:port`.
fn two_addresses(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (listen, target) = match parts[..] {
        [port, host, other] if is_port(port) && is_port(other) => (port.to_owned(), format!("{host}:{other}")),
        [host, port, target, other] if is_port(port) && is_port(other) => (format!("{host}:{port}"), format!("{target}:{other}")),
        _ => return None,
    };
    let both = Address::read(&listen).is_ok() && Address::read(&target).is_ok();
    both.then(|| format!("it is two addresses, as ssh takes them: give each by itself ({listen:?} and {target:?})"))
}

fn brackets(text: &str) -> Option<String> {
    let rest = text.strip_prefix('[')?;
    if let Some((host, behind)) = rest.split_once(']') {
        let meant = instead(&format!("[{host}]:{behind}"));
        return (!behind.starts_with(':') && !meant.is_empty())
            .then(|| format!("the port is missing, for there is no colon before it{meant}"));
    }
    match rest.rsplit_once(':') {
        Some((host, port)) if is_port(port) && !instead(&format!("[{host}]:{port}")).is_empty() => {
            Some(format!("the bracket is not closed{}", instead(&format!("[{host}]:{port}"))))
        }
        _ => Some(format!("the bracket is not closed, and the port is missing{}", instead(&format!("[{rest}]:9090")))),
    }
}

fn path(text: &str) -> Option<String> {
    if text.starts_with(['/', '.', '~']) && text.contains('/') {
        return Some(format!(
            "the port is missing; a Unix socket's path has unix: before it{}",
            instead(&format!("unix:{text}"))
        ));
    }
    let (address, _) = text.split_once('/')?;
    let meant = instead(address);
    (!meant.is_empty()).then(|| format!("a path has no place behind the port: take it away{meant}"))
}

fn user(text: &str) -> Option<String> {
    let (_, address) = text.rsplit_once('@')?;
    let meant = instead(address);
    (!meant.is_empty()).then(|| format!("the host is neither a name nor an IP address, for a user has no place in it{meant}"))
}

/// Explains a port that is missing or is no port.
fn port(text: &str) -> Option<String> {
    if let Some(host) = text.strip_suffix(':')
        && !host.is_empty()
    {
        return Some(format!("the port is missing behind the colon{}", instead(&format!("{host}:80"))));
    }
    if let Some(port) = text.strip_prefix(':')
        && is_port(port)
    {
        return Some(format!(
            "the host is empty (\"{port}\" is this machine only, \"0.0.0.0:{port}\" or \"[::]:{port}\" is every interface)"
        ));
    }
    if let Some((left, right)) = text.split_once(':').filter(|(left, right)| is_port(left) && is_port(right)) {
        return Some(format!("a port stands where the host should: a port alone is one of this machine ({left:?} or {right:?})"));
    }
    if let Some((host, word)) = text.rsplit_once(':').filter(|(host, _)| !host.contains(':')) {
        let written = word.trim();
        let spaced = || (written != word && is_port(written)).then(|| written.to_owned());
        return port_of(written)
            .map(|port| port.to_string())
            .or_else(spaced)
            .map(|port| format!("the port is not a number{}", instead(&format!("{}:{port}", host.trim()))));
    }
    if let Some((host, port)) = text.split_once([' ', ',']).map(|(host, port)| (host, port.trim()))
        && is_port(port)
    {
        return Some(format!("the port is missing, for it stands behind a colon{}", instead(&format!("{host}:{port}"))));
    }
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    let behind = &text[digits.len()..];
    (is_port(&digits) && behind.chars().all(char::is_alphabetic))
        .then(|| format!("it is no port, which is a number{}, and behind a host the port is missing", instead(&digits)))
}

fn colons(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':')?;
    if !host.contains(':') {
        return None;
    }
    if let Some((first, ports)) = text.split_once(':')
        && ports.split(':').all(is_port)
        && let Some(port) = ports.split(':').next()
        && Address::read(&format!("{first}:{port}")).is_ok()
    {
        return Some(format!("it has more ports than one: give one{}", instead(&format!("{first}:{port}"))));
    }
    let meant = instead(&format!("[{host}]:{port}"));
    let alone = instead(&format!("[{text}]:9090"));
    Some(match (meant.is_empty(), alone.is_empty()) {
        (false, _) => format!("an IPv6 address needs brackets, for nothing else tells where its port begins{meant}"),
        (true, false) => format!("an IPv6 address needs brackets, and a port behind them{alone}"),
        (true, true) => "an IPv6 address needs brackets, and a name or an IPv4 address has one colon".to_owned(),
    })
}
