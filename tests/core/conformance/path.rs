//! The ways that bytes can take through a server.

use std::sync::{Arc, OnceLock};

use interpose::{
    settings::{
        by_name::ByName,
        config::{Coalesce, Config, Splice},
        forward::Forward,
    },
    taps::event::Place,
    words::interest::Interest,
};

use super::watching::{BeginningTls, Later, LettingGo, WATCHING, Watching};
use crate::support::{running::Running, sessions::made, tapped::tap_filters, upstreams::Echo};

/// How a server relays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Nobody looks at the bytes.
    Native,
    /// Nobody looks, and every byte goes through a pipe, where the system has that.
    Spliced,
    /// Nobody looks, every direction waits for many bytes, and they go through a pipe, where the system has that.
    Coalesced,
    /// Hooks see every chunk and every end, and let all pass.
    Inspected,
    /// Stages stand before and behind the hook's place, and let all pass, on the connection's I/O thread.
    Staged,
    /// The same stages, and hooks that see everything, on a lane.
    StagedOnLane,
    /// Hooks answer later, from another thread, about connections that stay on their I/O threads.
    Later,
    /// Hooks see every message of a framed stream and every end, and let all pass.
    Framed,
    /// Hooks answer later about every message, from another thread, all at once that wait, as an event loop does.
    FramedLater,
    /// Hooks put a copy in the place of every chunk, have memory of their own for large ones, and wait for many bytes.
    Replaced,
    /// A hook decides by the client's first bytes, which are then put back in front of the others. Nobody looks afterwards.
    Preread,
    /// The client's TLS hello decides by the name in it, and is put back in front of the other bytes. Nobody looks.
    Named,
    /// Hooks on a lane see the first chunk of each direction, and let go of it: it goes through a pipe afterwards, where the
    /// system has that.
    LetGo,
    /// Hooks that answer later see the first chunk of each direction, and let go of it.
    LetGoLater,
    /// Hooks see the first message of each direction, and let go of it.
    LetGoFramed,
    /// Nobody looks, and a second target is sent a copy of what the client sends. It sends that back, to nobody.
    Mirrored,
    /// Nobody looks but a tap, before and behind the hook's place. What it has seen in the socket goes through a pipe, where the
    /// system has that.
    Tapped,
    /// Nobody looks, and the client speaks TLS with us.
    TlsClient,
    /// Nobody looks, and the upstream speaks TLS with us.
    TlsUpstream,
    /// Hooks on a lane see every chunk and every end, and both sides speak TLS with us: each session changes its thread.
    TlsBoth,
    /// Hooks on a lane see the client's first words, begin TLS with both sides behind them, and let go.
    StartTls,
}

impl Path {
    /// Returns true if hooks are called while bytes are relayed.
    pub const fn calls_hooks(self) -> bool {
        !matches!(
            self,
            Path::Native
                | Path::Spliced
                | Path::Coalesced
                | Path::Staged
                | Path::Preread
                | Path::Named
                | Path::Mirrored
                | Path::Tapped
                | Path::TlsClient
                | Path::TlsUpstream
                | Path::StartTls
        )
    }

    /// The number of random cases that are tried on this path. One whose directions are moved as on another path, after
    /// their beginning or beside something else, tries fewer: the others are tried there.
    pub const fn random_cases(self) -> u32 {
        match self {
            Path::Native | Path::Spliced | Path::Coalesced | Path::Inspected | Path::Later | Path::FramedLater => 150,
            Path::Staged | Path::StagedOnLane | Path::Framed | Path::Replaced => 80,
            Path::Preread | Path::LetGo | Path::LetGoLater | Path::LetGoFramed | Path::Mirrored | Path::Tapped => 60,
            Path::Named | Path::TlsClient | Path::TlsUpstream | Path::TlsBoth | Path::StartTls => 60,
        }
    }

    /// The bytes that a client sends before each case, for what decides by them. No case sees or counts them.
    pub const fn prologue(self) -> &'static [u8] {
        match self {
            Path::Preread => &[b'p'; 6000],
            Path::Named => include_bytes!("../hellos/samples/openssl"),
            Path::StartTls => b"STARTTLS\r\n",
            _ => &[],
        }
    }

    /// Returns true if the client speaks TLS, and true if the upstream does.
    pub const fn tls(self) -> (bool, bool) {
        let (both, (client, upstream)) = (matches!(self, Path::StartTls), self.first_tls());
        (client || both, upstream || both)
    }

    /// Returns the same of the first byte.
    pub const fn first_tls(self) -> (bool, bool) {
        (matches!(self, Path::TlsClient | Path::TlsBoth), matches!(self, Path::TlsUpstream | Path::TlsBoth))
    }

    /// Returns the settings of a server that speaks TLS, or looks at it, where this path does.
    fn prepared(self, mut config: Config) -> Config {
        let (of_client, of_upstream) = self.first_tls();
        if of_client {
            config.tls = Some(Arc::clone(&made().tls));
        }
        if let Some(forward) = config.forward.as_mut().filter(|_| of_upstream) {
            forward.tls = Some(made().upstream.clone());
        }
        if self == Path::Named {
            let target = config.forward.take().map(|forward| ("*.example".to_owned(), forward));
            config.by_name = Some(Arc::new(ByName::new(target, None).unwrap()));
        }
        config
    }

    /// Starts a server that relays in this way.
    pub fn start(self, config: Config) -> Running {
        let mut config = self.prepared(config);
        match self {
            Path::Native | Path::Named | Path::TlsClient | Path::TlsUpstream => Running::start(config),
            Path::Spliced => {
                config.relay.splice = Splice::Always;
                Running::start(config)
            }
            Path::Coalesced => {
                (config.relay.splice, config.relay.coalesce) = (Splice::Always, Coalesce::Always);
                Running::start(config)
            }
            Path::StartTls => Running::start_hooked(config, Arc::new(BeginningTls), WATCHING),
            Path::Inspected | Path::TlsBoth => Running::start_hooked(config, Arc::new(Watching::default()), WATCHING),
            Path::Mirrored => {
                static ECHO: OnceLock<Echo> = OnceLock::new();
                config.mirror = Some(Forward::to(ECHO.get_or_init(Echo::start).address()));
                Running::start(config)
            }
            Path::Tapped => {
                config.filters = tap_filters(&Arc::default(), &[Place::In, Place::Out]);
                Path::Spliced.start(config)
            }
            Path::Staged => {
                let hooks = Watching { staged: true, ..Watching::default() };
                Running::start_hooked(config, Arc::new(hooks), Interest::NONE)
            }
            Path::StagedOnLane => {
                let hooks = Watching { staged: true, ..Watching::default() };
                Running::start_hooked(config, Arc::new(hooks), WATCHING)
            }
            Path::Later => Running::start_hooked(config, Arc::new(Later::default()), WATCHING.on_any_thread()),
            Path::LetGoFramed => {
                let hooks = Watching { framed: true, ..Watching::default() };
                Running::start_hooked(config, Arc::new(LettingGo(hooks)), WATCHING)
            }
            Path::Framed => {
                let hooks = Watching { framed: true, ..Watching::default() };
                Running::start_hooked(config, Arc::new(hooks), WATCHING)
            }
            Path::FramedLater => Running::start_hooked(config, Arc::new(Later::framed()), WATCHING.on_any_thread()),
            Path::Preread => Running::start_hooked(config, Arc::new(Watching::default()), Interest::PREREAD),
            Path::LetGo => {
                config.relay.splice = Splice::Always;
                Running::start_hooked(config, Arc::new(LettingGo(Watching::default())), WATCHING)
            }
            Path::LetGoLater => {
                let hooks = LettingGo(Later::default());
                Running::start_hooked(config, Arc::new(hooks), WATCHING.on_any_thread())
            }
            Path::Replaced => {
                config.relay.coalesce = Coalesce::Always;
                let hooks = Watching { replaces: true, ..Watching::default() };
                Running::start_hooked(config, Arc::new(hooks), WATCHING)
            }
        }
    }
}
