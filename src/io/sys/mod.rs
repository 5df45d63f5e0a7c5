//! Calls that differ between systems. `linux` and `other` have the same names: callers need not know which file they use.
//!
//! | file | for | contents |
//! |---|---|---|
//! | `linux` | Linux, Android | socket calls and options that other systems do not have |
//! | `other` | the others | stand-ins for those: an option that is left off, a figure that is not known |
//! | `splice_pipe`, `timer`, `port_owner`, `unix_peer` | Linux, Android | splice(2), timerfd(2), the tables of `/proc`, sock_diag(7) |
//! | `unix` | every Unix | signals, forks, readiness of any descriptor |
//! | `windows` | the others | stand-ins for those |

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod port_owner;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) mod splice_pipe;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod timer;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod unix_peer;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod other;

mod owner;

#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
mod windows;

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub use self::other::Ticks;
pub(crate) use self::owner::Owner;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub use self::timer::Ticks;
#[cfg(unix)]
pub(crate) use self::unix::*;
#[cfg(not(unix))]
pub(crate) use self::windows::*;
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) use self::{
    linux::*,
    port_owner::owner_of,
    unix_peer::{inode, inode_of_client},
};
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) use self::{other::splice_pipe, other::*};
