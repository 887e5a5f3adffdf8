//! The server. [`maru::start`] is where it begins.

fn main() -> std::process::ExitCode {
    maru::start::main()
}
