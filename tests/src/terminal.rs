//! A terminal for the command under test, as a person sits at one.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The side of the terminal at which a person sits: what is written is typed, what is read was shown.
///
/// `command` gets the other side, as its controlling terminal: what is typed there may interrupt it. Once it has ended
/// reading fails.
pub fn give(command: &mut Command, columns: u16) -> io::Result<File> {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: openpty writes two numbers and reads a size; all three live until it returns, the others may be null.
    if unsafe { libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null_mut(), &size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: openpty made both, and nobody else knows of them.
    let (ours, theirs) = unsafe { (File::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs)) };
    for side in [ours.as_raw_fd(), theirs.as_raw_fd()] {
        // Other commands that start meanwhile must not hold the terminal open. SAFETY: fcntl touches no memory here.
        unsafe { libc::fcntl(side, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    command.stdin(theirs.try_clone()?).stdout(theirs.try_clone()?).stderr(theirs);
    // SAFETY: only functions that are safe between fork and exec are called: setsid and ioctl.
    unsafe {
        command.pre_exec(|| match libc::setsid() != -1 && libc::ioctl(0, libc::TIOCSCTTY, 0) != -1 {
            true => Ok(()),
            false => Err(io::Error::last_os_error()),
        });
    }
    Ok(ours)
}
