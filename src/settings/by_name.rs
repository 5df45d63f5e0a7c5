//! The targets of a listener whose clients are routed by the name they ask for (SNI), without decrypting anything.

use std::collections::HashMap;

use super::forward::Forward;
use crate::{
    wire::hello::server_name::ServerName,
    words::error::{Error, ErrorKind, printable},
};

/// Maximum number of names of one listener.
pub const MOST_NAMES: usize = 10_000;

/// Targets by the names that clients ask for.
#[derive(Debug, Clone, Default)]
pub struct ByName {
    exact: HashMap<ServerName, Forward>,
    /// The targets of all names below these, which `*.` in front stands for.
    below: HashMap<ServerName, Forward>,
    default: Option<Forward>,
    refuses_others: bool,
}

impl ByName {
    /// Returns the targets of these names. A name is one of a host, or `*.` before one, for all names below that, however
    /// many parts they have more. `default` is for clients that ask for no name, or for none of these.
    pub fn new(targets: impl IntoIterator<Item = (String, Forward)>, default: Option<Forward>) -> Result<Self, Error> {
        let wrong = |message: String| Err(Error::new(ErrorKind::Config, message));
        let mut all = Self { default, ..Self::default() };
        for (text, forward) in targets {
            let (names, name) = match text.strip_prefix("*.") {
                Some(rest) => (&mut all.below, rest),
                None => (&mut all.exact, &text[..]),
            };
            let shown = printable(&text);
            if name.contains('*') {
                return wrong(format!(
                    "tls: the name {shown:?} has a * that is not its whole first part; write such as \"*.example.com\""
                ));
            }
            let name = match ServerName::of_text(name) {
                Ok(name) => name,
                Err(why) => {
                    return wrong(format!(
                        "tls: {shown:?} is no name that clients ask for: {why}; write such as \"a.example.com\""
                    ));
                }
            };
            forward.check(&format!("tls: {shown:?}"))?;
            if names.insert(name, forward).is_some() {
                return wrong(format!("tls: the name {shown:?} is there twice, as names are compared; leave one out"));
            }
        }
        if let Some(default) = &all.default {
            default.check("tls: default")?;
        }
        if all.exact.len() + all.below.len() > MOST_NAMES {
            return wrong(format!("tls: there are more than {MOST_NAMES} names; leave some to a name with *. in front"));
        }
        Ok(all)
    }

    /// Returns these targets, with all clients refused that have none among them, whatever the server's own target is.
    #[must_use]
    pub fn refusing_others(self) -> Self {
        Self { refuses_others: true, ..self }
    }

    /// Returns true if a client without a target here is refused, where the server's own target is `forward`.
    pub(crate) fn refuses_others(&self, forward: Option<&Forward>) -> bool {
        self.refuses_others || forward.is_none()
    }

    /// Returns the target of a client that asks for this name: that of the name itself, else of the longest name that it is
    /// below, else the default.
    pub fn find(&self, name: Option<&ServerName>) -> Option<&Forward> {
        let named = name.and_then(|name| self.exact.get(name).or_else(|| name.parents().find_map(|above| self.below.get(above))));
        named.or(self.default.as_ref())
    }

    /// Returns all targets.
    pub fn targets(&self) -> impl Iterator<Item = &Forward> {
        self.exact.values().chain(self.below.values()).chain(&self.default).flat_map(Forward::targets)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn to(port: u16) -> Forward {
        Forward::to(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn by_name(names: &[&str], default: Option<Forward>) -> Result<ByName, Error> {
        ByName::new(names.iter().zip(1..).map(|(name, port)| ((*name).to_owned(), to(port))), default)
    }

    fn found(by_name: &ByName, name: &str) -> Option<u16> {
        let name = ServerName::of_text(name).unwrap();
        by_name.find(Some(&name)).map(|forward| forward.address.socket_addr().unwrap().port())
    }

    #[test]
    fn the_nearest_name_decides() {
        let routes = by_name(&["a.example", "*.example", "*.B.example.", "c.b.example", "*.deep.b.example"], None).unwrap();
        for (name, port) in [
            ("a.example", Some(1)),
            ("A.Example.", Some(1)),
            ("x.example", Some(2)),
            ("b.example", Some(2)),
            ("x.a.example", Some(2)),
            ("x.b.example", Some(3)),
            ("y.x.b.example", Some(3)),
            ("c.b.example", Some(4)),
            ("x.c.b.example", Some(3)),
            ("x.deep.b.example", Some(5)),
            ("deep.b.example", Some(3)),
            ("example", None),
            ("xexample", None),
            ("a.example.org", None),
        ] {
            assert_eq!(found(&routes, name), port, "{name}");
        }
        assert!(routes.find(None).is_none());
        let routes = by_name(&["a.example"], Some(to(9))).unwrap();
        assert_eq!((found(&routes, "b.example"), found(&routes, "a.example")), (Some(9), Some(1)));
        assert_eq!(routes.find(None), Some(&to(9)));
    }

    #[test]
    fn names_that_no_client_can_ask_for_are_refused() {
        for (names, line) in [
            (&["10.0.0.1"][..], "tls: \"10.0.0.1\" is no name that clients ask for: it is an address"),
            (&["a.example:443"], "it is an address, or has a port"),
            (&["a.*.example"], "has a * that is not its whole first part"),
            (&["*"], "has a * that is not its whole first part"),
            (&["*a.example"], "has a * that is not its whole first part"),
            (&["*."], "it is empty"),
            (&["a.example", "A.example."], "is there twice"),
            (&["b\u{fc}cher.example"], "xn--"),
        ] {
            let error = by_name(names, None).unwrap_err().to_string();
            assert!(error.contains(line) && !error.contains('\n'), "{error}");
        }
        assert!(by_name(&["a.example", "*.a.example"], None).is_ok(), "these are two names");
    }
}
