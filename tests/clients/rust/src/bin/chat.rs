include!(concat!(env!("OUT_DIR"), "/chat.rs"));
