//! The direction of bytes, and pairs of one value for each direction or for each side.

use std::ops::{Index, IndexMut};

/// The direction in which bytes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to the upstream.
    ToUpstream,
    /// From the upstream to the client.
    ToClient,
}

impl Direction {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::ToUpstream, Self::ToClient];

    /// Returns the other direction.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::ToUpstream => Self::ToClient,
            Self::ToClient => Self::ToUpstream,
        }
    }

    /// Returns the word used in logs and errors.
    pub fn word(self) -> &'static str {
        match self {
            Self::ToUpstream => "to_upstream",
            Self::ToClient => "to_client",
        }
    }

    /// Returns the side that sends in this direction.
    pub(crate) fn source(self) -> Side {
        match self {
            Self::ToUpstream => Side::Client,
            Self::ToClient => Side::Upstream,
        }
    }
}

/// One of the two sides of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Client, Self::Upstream];

    /// Returns the direction in which this side sends.
    pub(crate) fn sends(self) -> Direction {
        match self {
            Self::Client => Direction::ToUpstream,
            Self::Upstream => Direction::ToClient,
        }
    }

    /// Returns the direction whose bytes this side gets.
    pub(crate) fn receives(self) -> Direction {
        self.sends().opposite()
    }

    pub(crate) fn opposite(self) -> Self {
        self.receives().source()
    }
}

/// One `T` for each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Both<T> {
    /// Of the bytes from the client to the upstream.
    pub to_upstream: T,
    /// Of the bytes from the upstream to the client.
    pub to_client: T,
}

impl<T> Index<Direction> for Both<T> {
    type Output = T;

    fn index(&self, direction: Direction) -> &T {
        match direction {
            Direction::ToUpstream => &self.to_upstream,
            Direction::ToClient => &self.to_client,
        }
    }
}

impl<T> IndexMut<Direction> for Both<T> {
    fn index_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::ToUpstream => &mut self.to_upstream,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// One `T` for each side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sides<T> {
    pub client: T,
    pub upstream: T,
}

impl<T> Sides<T> {
    /// Borrows the side that sends in `direction`, and the one that receives.
    pub(crate) fn ends_mut(&mut self, direction: Direction) -> (&mut T, &mut T) {
        match direction {
            Direction::ToUpstream => (&mut self.client, &mut self.upstream),
            Direction::ToClient => (&mut self.upstream, &mut self.client),
        }
    }
}

impl<T> Index<Side> for Sides<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Upstream => &self.upstream,
        }
    }
}

impl<T> IndexMut<Side> for Sides<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Upstream => &mut self.upstream,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_found_by_its_direction_or_its_side() {
        let (mut both, mut sides) = (Both { to_upstream: 1, to_client: 2 }, Sides { client: 1, upstream: 2 });
        for (direction, side) in Direction::ALL.into_iter().zip(Side::ALL) {
            assert_eq!((direction.source(), side.sends()), (side, direction));
            assert_eq!(both[direction], sides[side]);
            both[direction] += 10;
            sides[side] += 10;
            assert_eq!(direction.opposite().source(), side.opposite());
            let (source, destination) = sides.ends_mut(direction);
            assert_eq!((*source, *destination), (both[direction], both[direction.opposite()]));
        }
        assert_eq!((both.to_upstream, both.to_client), (11, 12));
    }
}
