//! Limits of size, time, number and rate, each of which can be changed by its name.

use clap::ValueEnum;

use crate::event::Text;

/// Bounds on what one request, person or address may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a text.
    pub text: u32,
    /// Bytes of a body.
    pub body: u32,
    /// Bytes of a head: request line and fields.
    pub head: u32,
    /// Bytes of a request target.
    pub uri: u32,
    /// Fields of a head.
    pub fields: u32,
    /// Seconds from accept to the end of the first head.
    pub head_time: u32,
    /// Seconds from the end of a head to the end of its body.
    pub body_time: u32,
    /// Events that a stream may begin with.
    pub history: u32,
    /// Streams open at once for one person.
    pub person_streams: u32,
    /// Messages a second for one person.
    pub person_messages: u32,
    /// Messages at once for one person.
    pub person_burst: u32,
    /// Streams open at once for one address.
    pub address_streams: u32,
    /// Messages a second for one address.
    pub address_messages: u32,
    /// New guests a second for one address.
    pub address_guests: u32,
    /// Searches for people a second for one person.
    pub person_searches: u32,
    /// Searches for people a second for one address.
    pub address_searches: u32,
    /// Rooms with members that one person makes in a minute.
    pub person_rooms: u32,
    /// Read marks a second for one person.
    pub person_marks: u32,
    /// Seconds between two times that one person says that they are writing.
    pub typing_every: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            text: 4096,
            body: 16 << 10,
            head: 16 << 10,
            uri: 4 << 10,
            fields: 64,
            head_time: 10,
            body_time: 10,
            history: 1000,
            person_streams: 30,
            person_messages: 5,
            person_burst: 20,
            address_streams: 1000,
            address_messages: 50,
            address_guests: 10,
            person_searches: 5,
            address_searches: 50,
            person_rooms: 20,
            person_marks: 10,
            typing_every: 2,
        }
    }
}

/// The name of a limit in `--limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // They are the fields of `Limits`.
pub enum LimitName {
    Text,
    Body,
    Head,
    Uri,
    Fields,
    HeadTime,
    BodyTime,
    History,
    PersonStreams,
    PersonMessages,
    PersonBurst,
    AddressStreams,
    AddressMessages,
    AddressGuests,
    PersonSearches,
    AddressSearches,
    PersonRooms,
    PersonMarks,
    TypingEvery,
}

impl Limits {
    pub(super) fn set(&mut self, name: LimitName, value: u32) {
        *match name {
            LimitName::Text => &mut self.text,
            LimitName::Body => &mut self.body,
            LimitName::Head => &mut self.head,
            LimitName::Uri => &mut self.uri,
            LimitName::Fields => &mut self.fields,
            LimitName::HeadTime => &mut self.head_time,
            LimitName::BodyTime => &mut self.body_time,
            LimitName::History => &mut self.history,
            LimitName::PersonStreams => &mut self.person_streams,
            LimitName::PersonMessages => &mut self.person_messages,
            LimitName::PersonBurst => &mut self.person_burst,
            LimitName::AddressStreams => &mut self.address_streams,
            LimitName::AddressMessages => &mut self.address_messages,
            LimitName::AddressGuests => &mut self.address_guests,
            LimitName::PersonSearches => &mut self.person_searches,
            LimitName::AddressSearches => &mut self.address_searches,
            LimitName::PersonRooms => &mut self.person_rooms,
            LimitName::PersonMarks => &mut self.person_marks,
            LimitName::TypingEvery => &mut self.typing_every,
        } = value;
    }
}

/// `NAME=NUMBER`, as `--limit` takes it.
pub(super) fn limit(s: &str) -> Result<(LimitName, u32), String> {
    let (name, value) = s.split_once('=').ok_or("a limit is NAME=NUMBER")?;
    let name = LimitName::from_str(name, false).map_err(|_| format!("there is no limit {name:?}"))?;
    // What is kept in memory for one request stays small, whatever is configured.
    let most = match name {
        LimitName::Text => Text::MAX_BYTES as u32,
        LimitName::Body | LimitName::Head => 1 << 20,
        LimitName::Uri => 32 << 10,
        LimitName::Fields => 96,
        LimitName::HeadTime | LimitName::BodyTime | LimitName::TypingEvery => 600,
        LimitName::History => 10_000,
        _ => 1_000_000,
    };
    match value.parse() {
        Ok(value) if (1..=most).contains(&value) => Ok((name, value)),
        _ => Err(format!("{value:?} is not a number from 1 to {most}")),
    }
}
