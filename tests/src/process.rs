//! Child processes that do not outlive the test.

use std::io;
use std::process::{Child, Command};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Linux ties the death signal of a child to the *thread* that started it, so all children are started by one thread
/// that lives as long as the process.
static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (jobs, inbox) = mpsc::channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, reply) in inbox {
            // Whoever asked may have been unwound meanwhile.
            let _ = reply.send(command.spawn());
        }
    });
    Mutex::new(jobs)
});

/// Starts `command`, which gets `signal` when this process dies, even by SIGKILL.
///
/// Only Linux has this; elsewhere a child is left to whoever holds it.
pub fn spawn(mut command: Command, signal: i32) -> io::Result<Child> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::process::CommandExt;
        let parent = std::process::id().cast_signed();
        // SAFETY: only functions that are safe between fork and exec are called: prctl, getppid, raise and signal.
        unsafe {
            command.pre_exec(move || {
                // A change of user clears the death signal; `Command` has changed it before this runs.
                if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the line above.
                if libc::getppid() != parent {
                    libc::raise(libc::SIGKILL);
                }
                // A shell lets what it runs in the background ignore Ctrl-C, and children inherit that.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (&mut command, signal);

    let (reply, answer) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .map_err(|_| io::Error::other("the thread that starts processes is gone"))?;
    answer.recv().map_err(|_| io::Error::other("the thread that starts processes is gone"))?
}

/// Lets a command heed the rights of files, as root otherwise need not, and make no file larger than this.
pub fn restrict(command: &mut Command, largest_file: Option<u64>) {
    use std::os::unix::process::CommandExt;
    let limit = largest_file.map(|bytes| libc::rlimit { rlim_cur: bytes, rlim_max: bytes });
    // SAFETY: only functions that are safe between fork and exec are called: prctl, signal and setrlimit.
    unsafe {
        command.pre_exec(move || {
            // Fails for whoever is not root, and has no such right to lose.
            #[cfg(target_os = "linux")]
            for right in FILE_RIGHTS {
                libc::prctl(libc::PR_CAPBSET_DROP, right, 0, 0, 0);
            }
            if let Some(limit) = &limit {
                libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                if libc::setrlimit(libc::RLIMIT_FSIZE, limit) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, the rights to write and to read every file whatever its mode.
#[cfg(target_os = "linux")]
const FILE_RIGHTS: [libc::c_ulong; 2] = [1, 2];

/// Sends a signal to a process. That the process is gone already is no error.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: kill takes two numbers and touches no memory.
    unsafe { libc::kill(pid.cast_signed(), signal) };
}
