//! What is said of one process that has SQLite for its log, of settings, and of what is the same however
//! it is deployed: not run where there are many pods.

mod backup;
mod disk;
mod doctor;
mod harm;
mod http2;
mod instructions;
mod keeping;
mod load;
mod programs;
mod proxies;
mod start;
mod tls;
