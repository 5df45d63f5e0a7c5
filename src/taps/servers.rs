//! The servers whose connections one output shows.

use std::collections::BTreeMap;

/// Maximum number of servers that are known. One that was forgotten and comes again gets another number.
const MOST: usize = 4096;

/// Counts the servers of one output from 1 on, in the order of their first events.
#[derive(Debug, Default)]
pub struct Servers {
    known: BTreeMap<u32, u64>,
    count: u64,
}

impl Servers {
    /// Returns the number that a server has in the output.
    pub fn number(&mut self, server: u32) -> u64 {
        if let Some(number) = self.known.get(&server) {
            return *number;
        }
        if self.known.len() == MOST {
            self.known.pop_first();
        }
        self.count += 1;
        self.known.insert(server, self.count);
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_counted_as_they_come_and_few_are_remembered() {
        let mut servers = Servers::default();
        assert_eq!([7, 3, 7, 9, 3].map(|server| servers.number(server)), [1, 2, 1, 3, 2]);
        for server in 100..100_000 {
            servers.number(server);
        }
        assert_eq!((servers.known.len(), servers.number(7)), (MOST, 99_904));
    }
}
