//! The server with faults to choose from by `MARU_FAULT` (`maru::faults`), so that tests can see the checker fail.

fn main() -> std::process::ExitCode {
    maru::start::main()
}
