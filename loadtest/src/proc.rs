//! What a process costs, read from `/proc`: CPU time to the nanosecond, memory, threads, open files.

use rustix::process::Pid;
use rustix::thread::CpuSet;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// CPU time of a process up to one moment. Only differences mean anything: [`Cpu::since`].
#[derive(Clone, Debug)]
pub struct Cpu {
    /// Nanoseconds on a core, by thread (`/proc/PID/task/*/schedstat`; `/proc/PID/schedstat` is the first thread's).
    threads: HashMap<u32, u64>,
    /// User and system time of all threads, ended ones included, in clock ticks (`/proc/PID/stat`).
    ticks: u64,
}

/// One clock tick of `/proc/PID/stat`: 1/100 s on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    /// The CPU time of a process so far.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A thread may end between the listing and the look.
            let Ok(line) = fs::read_to_string(entry.path().join("schedstat")) else { continue };
            threads.insert(id, line.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0));
        }
        let stat = stat(pid)?;
        let ticks = stat.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
        Ok(Self { threads, ticks })
    }

    /// The same of several processes in sum.
    ///
    /// # Errors
    /// When one of them is gone.
    pub fn of_all(pids: &[u32]) -> io::Result<Self> {
        let mut sum = Self { threads: HashMap::new(), ticks: 0 };
        for &pid in pids {
            let Self { threads, ticks } = Self::of(pid)?;
            sum.threads.extend(threads);
            sum.ticks += ticks;
        }
        Ok(sum)
    }

    /// CPU time spent between `earlier` and this. Exact while no thread ended in between; else in ticks of 10 ms,
    /// which count the ended ones too.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Duration {
        if earlier.threads.keys().all(|id| self.threads.contains_key(id)) {
            let spent =
                self.threads.iter().map(|(id, now)| now - earlier.threads.get(id).unwrap_or(&0).min(now));
            Duration::from_nanos(spent.sum())
        } else {
            TICK * u32::try_from(self.ticks - earlier.ticks).unwrap_or(u32::MAX)
        }
    }
}

/// `/proc/PID/stat` from the third field on.
fn stat(pid: u32) -> io::Result<String> {
    let mut stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field, the name in parentheses, may hold anything, so look from its end.
    let end = stat.rfind(") ").map_or(stat.len(), |at| at + 2);
    stat.drain(..end);
    Ok(stat)
}

/// A process and all that it started, and they, which still run.
///
/// # Errors
/// Where there is no `/proc`.
pub fn family(pid: u32) -> io::Result<Vec<u32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One may end between the listing and the look.
        let Ok(stat) = stat(id) else { continue };
        parents.insert(id, stat.split(' ').nth(1).and_then(|n| n.parse::<u32>().ok()).unwrap_or(0));
    }
    let mut family = vec![pid];
    let mut at = 0;
    while at < family.len() {
        let parent = family[at];
        family.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(id, _)| id));
        at += 1;
    }
    Ok(family)
}

/// Memory that programs can still have on this machine (bytes; `MemAvailable` of `/proc/meminfo`).
///
/// # Errors
/// Where there is no `/proc`.
pub fn available_memory() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other("/proc/meminfo has no MemAvailable"))
}

/// Memory of a process (bytes).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// All resident pages (`VmRSS`).
    pub resident: u64,
    /// Resident pages of no file: heap, stacks (`RssAnon`).
    pub anonymous: u64,
}

impl Memory {
    /// The memory of a process now, from `/proc/PID/status`.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |key: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
            let kib: u64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or_default();
            kib * 1024
        };
        Ok(Self { resident: bytes("VmRSS"), anonymous: bytes("RssAnon") })
    }
}

/// How many files a process holds open.
///
/// # Errors
/// When there is no such process.
pub fn open_files(pid: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// How many files a process may hold open.
#[must_use]
pub fn open_files_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

/// Lets all threads that a process has now run on one core only; those they start later inherit it.
///
/// # Errors
/// When there is no such process or core.
pub fn pin(pid: u32, core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread = entry?.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        rustix::thread::sched_setaffinity(thread, &set)?;
    }
    Ok(())
}

/// CPU time that all processes of this machine have used so far, interrupts included (`/proc/stat`, ticks of 10 ms).
/// Only differences mean anything.
///
/// # Errors
/// Where there is no `/proc/stat`.
pub fn busy() -> io::Result<Duration> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().unwrap_or_default();
    // cpu, user, nice, system, idle, iowait, irq, softirq, steal: all but the two that are waiting.
    let ticks = line.split_whitespace().skip(1).take(8).enumerate().filter(|(i, _)| !matches!(i, 3 | 4));
    let ticks: u32 = ticks.filter_map(|(_, n)| n.parse::<u32>().ok()).sum();
    Ok(TICK * ticks)
}

/// The machine in a few words, for reports.
#[must_use]
pub fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, Linux {}", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_shows_as_cpu_time_and_waiting_does_not() {
        let pid = std::process::id();
        let (tx, rx) = std::sync::mpsc::sync_channel::<()>(0);
        let worker = std::thread::spawn(move || {
            let start = Instant::now();
            while start.elapsed() < Duration::from_millis(60) {
                std::hint::spin_loop();
            }
            // Stay alive until it was measured: ended threads are counted in ticks only.
            rx.recv().ok();
        });
        let before = Cpu::of(pid).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let spent = Cpu::of(pid).unwrap().since(&before);
        drop(tx);
        worker.join().unwrap();
        assert!(spent > Duration::from_millis(20), "{spent:?}");
        assert!(Cpu::of(0).is_err());
    }

    #[test]
    fn a_process_belongs_with_those_that_it_started() {
        let mut child = std::process::Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        // Until the shell has started what it waits for.
        while family(child.id()).unwrap().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = family(child.id()).unwrap();
        assert!(family(std::process::id()).unwrap().iter().filter(|id| found.contains(id)).count() == 2);
        assert!(Cpu::of_all(&found).unwrap().threads.len() == 2 && Cpu::of_all(&[found[0], 0]).is_err());
        for id in found.iter().rev() {
            let id = Pid::from_raw(i32::try_from(*id).unwrap()).unwrap();
            rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
    }

    #[test]
    fn memory_and_files_of_this_process_are_known() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(available_memory().unwrap() > 1 << 20);
        assert!(memory.resident > memory.anonymous && memory.anonymous > 0);
        assert!(open_files(std::process::id()).unwrap() >= 3);
        assert!(open_files_limit() > 3);
    }
}
