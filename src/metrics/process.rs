//! What the process takes of the machine, under the names that Prometheus' own libraries have for it.

use std::{fs, os::unix::fs::MetadataExt, sync::atomic::AtomicU64};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use rustix::process::{Resource, getrlimit};

/// Adds what Linux says of this process, which began at that second since 1970.
pub(super) fn register(registry: &mut Registry, began: u64) {
    let most_files = getrlimit(Resource::Nofile).current;
    for (name, help, value) in [
        ("process_start_time_seconds", "When the process began, in seconds since 1970", Some(began)),
        ("process_resident_memory_bytes", "Memory of the process that is in RAM", resident()),
        ("process_open_fds", "Open files, connections among them", open_files()),
        ("process_max_fds", "How many there may be", most_files),
    ] {
        let Some(value) = value else { continue };
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
    if let Some(spent) = cpu() {
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(spent);
        registry.register("process_cpu_seconds", "CPU that the process used, in user and kernel mode", cpu);
    }
}

/// In seconds; `utime` and `stime` of proc_pid_stat(5), which come in hundredths (USER_HZ, the same on all of Linux's
/// machines). Not by clock_gettime(2): its shortest way leads through the vDSO, which is not there under valgrind.
fn cpu() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Before it stands the program's name, which may have spaces.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let [user, kernel] = [fields.next()?, fields.next()?];
    Some((user.parse::<f64>().ok()? + kernel.parse::<f64>().ok()?) / 100.0)
}

/// In bytes; `VmRSS` of proc_pid_status(5).
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kilobytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Since Linux 6.2 the size of the directory is their number, which is had at once however many there are.
fn open_files() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.size() {
        0 => Some(fs::read_dir(DIRECTORY).ok()?.count() as u64),
        number => Some(number),
    }
}
