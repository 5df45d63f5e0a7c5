//! Framed directions with a second target: its copy is what was read, not what is cut.

use interpose::settings::{config::Config, forward::Forward};

use super::*;

/// A server whose hooks see the lines of clients, and a second target.
fn mirrored(hooks: Shows, second: &Upstream) -> Site {
    let interest = if hooks.is_later { Interest::TO_UPSTREAM.on_any_thread() } else { Interest::TO_UPSTREAM };
    let (hooks, upstream) = (Arc::new(hooks), Upstream::new());
    let config = Config { mirror: Some(Forward::to(second.address())), ..to(upstream.address()) };
    let running = Running::start_hooked(config, hooks.clone(), interest);
    Site { hooks, upstream, running }
}

#[test]
fn a_second_target_gets_at_once_what_a_framer_still_waits_with() {
    for hooks in both_ways(Lines) {
        let second = Upstream::new();
        let site = mirrored(hooks, &second);
        let (mut client, mut upstream, connection) = site.pair(ToUpstream);
        let mut shadow = second.accept();
        client.send(b"hel");
        assert_eq!(shadow.receive_exactly(3), b"hel");
        assert_eq!(site.hooks.take(ToUpstream), []);
        client.send(b"lo\nr");
        assert_eq!(shadow.receive_exactly(4), b"lo\nr");
        assert_eq!(upstream.receive_exactly(6), b"hello\n");
        client.half_close();
        assert_eq!(upstream.receive_exactly(1), b"r");
        finish(&mut client, &mut upstream, &connection);
        shadow.expect(End::Eof);
        site.hooks.expect(ToUpstream, &["hello\\n"], &["r"]);
    }
}

#[test]
fn a_second_target_gets_all_when_framing_changes_and_when_it_ends() {
    for hooks in both_ways(Lines) {
        let hooks = hooks.recv(|connection, direction, chunk| {
            match &**chunk {
                b"count\n" => connection.set_framing(direction, Some(Box::new(Counted)), FramingRules::default()).unwrap(),
                b"\x03end" => connection.pass_through(direction),
                _ => {}
            }
            Verdict::Pass
        });
        let second = Upstream::new();
        let site = mirrored(hooks, &second);
        let (mut client, mut upstream, connection) = site.pair(ToUpstream);
        let mut shadow = second.accept();
        for piece in ["a\ncount\n\x03o", "ne\x03e", "ndmore", "and more"] {
            client.send(piece.as_bytes());
            assert_eq!(shadow.receive_exactly(piece.len()), piece.as_bytes());
        }
        assert_eq!(upstream.receive_exactly(28), b"a\ncount\n\x03one\x03endmoreand more");
        finish(&mut client, &mut upstream, &connection);
        shadow.expect(End::Eof);
        site.hooks.expect(ToUpstream, &["a\\n", "count\\n", "\\x03one", "\\x03end"], &[]);
    }
}
