//! A command as it is kept: a sample of the organization's model of commands, at the time it was given, with the command
//! as JSON. Each change of its state writes the sample anew; the last one counts, as with every sample.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use wattline_model::AssetId;

/// What a device is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandKind {
    /// Set a measure point.
    Set,
    /// Do a service.
    Invoke,
    /// Tell the values of measure points.
    Get,
}

impl CommandKind {
    /// Its number in answers; asking for values is a number of ours.
    pub const fn number(self) -> u8 {
        match self {
            CommandKind::Set => 1,
            CommandKind::Invoke => 2,
            CommandKind::Get => 3,
        }
    }
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandState {
    /// It waits to be sent.
    Created,
    /// It was taken back before it was sent.
    Canceled,
    /// It waited longer than it may.
    Expired,
    /// It is with the device.
    Sent,
    /// The device did it.
    Succeeded,
    /// The device refused it, or it could not be sent.
    Failed,
    /// The device did not answer in time.
    TimedOut,
}

impl CommandState {
    /// Its number in answers and expressions.
    pub const fn number(self) -> u8 {
        match self {
            CommandState::Created => 1,
            CommandState::Canceled => 2,
            CommandState::Expired => 3,
            CommandState::Sent => 4,
            CommandState::Succeeded => 5,
            CommandState::Failed => 6,
            CommandState::TimedOut => 7,
        }
    }
}

/// A command to a device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The device; not in the JSON, but where the sample is.
    #[serde(skip)]
    pub asset: AssetId,
    /// When it was given, microseconds since the epoch; where the sample is, too.
    #[serde(skip)]
    pub created: i64,
    /// What it is.
    pub kind: CommandKind,
    /// The measure point or service.
    pub tsl: String,
    /// Its display name.
    pub name: String,
    /// What to set, or the arguments.
    pub input: Json,
    /// Seconds the device has to answer.
    pub timeout: u32,
    /// Seconds it may wait to be sent; 0: it is sent now or not at all.
    pub ttl: u32,
    /// How far it came.
    pub state: CommandState,
    /// What the device answered.
    #[serde(default)]
    pub output: Json,
    /// A remark of the device, or of ours.
    #[serde(default)]
    pub message: Option<String>,
}

/// Digits of the time in an identifier.
const TIME_DIGITS: usize = 16;

impl Command {
    /// Its identifier: where it is.
    pub fn id(&self) -> String {
        format!("{}{:0TIME_DIGITS$}", self.asset.0, self.created)
    }

    /// When it may not be sent any more.
    pub fn expires(&self) -> i64 {
        self.created.saturating_add(i64::from(self.ttl) * 1_000_000)
    }

    /// The end of its topic, after `/sys/{productKey}/{deviceKey}/`.
    pub fn topic(&self) -> String {
        match self.kind {
            CommandKind::Set => "thing/service/measurepoint/set".to_owned(),
            CommandKind::Get => "thing/service/measurepoint/get".to_owned(),
            CommandKind::Invoke => format!("thing/service/{}", self.tsl),
        }
    }

    /// The message to the device.
    pub fn payload(&self) -> Vec<u8> {
        let params = match self.kind {
            CommandKind::Set => serde_json::json!({&*self.tsl: self.input}),
            CommandKind::Get | CommandKind::Invoke => self.input.clone(),
        };
        let method = self.topic().replace('/', ".");
        let message =
            serde_json::json!({"id": self.id(), "version": "1.0", "method": method, "params": params});
        message.to_string().into_bytes()
    }
}

/// The device and time that an identifier means.
pub fn decode_id(id: &str) -> Option<(AssetId, i64)> {
    let at = id.len().checked_sub(TIME_DIGITS)?;
    if !id.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((AssetId(id[..at].parse().ok()?), id[at..].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        let mut command = Command {
            asset: AssetId(12),
            created: 1_709_596_800_000_000,
            kind: CommandKind::Set,
            tsl: "Setpoint".into(),
            name: "Setpoint".into(),
            input: serde_json::json!(30.5),
            timeout: 30,
            ttl: 60,
            state: CommandState::Created,
            output: Json::Null,
            message: None,
        };
        let id = command.id();
        assert_eq!(
            (id.as_str(), decode_id(&id)),
            ("121709596800000000", Some((AssetId(12), 1_709_596_800_000_000)))
        );
        assert_eq!(command.expires(), 1_709_596_860_000_000);
        let payload: Json = serde_json::from_slice(&command.payload()).unwrap();
        let expected = serde_json::json!({"id": id, "version": "1.0", "method": "thing.service.measurepoint.set",
            "params": {"Setpoint": 30.5}});
        assert_eq!(payload, expected);
        (command.kind, command.tsl) = (CommandKind::Invoke, "reboot".into());
        command.input = serde_json::json!({"arg1": 1});
        let payload: Json = serde_json::from_slice(&command.payload()).unwrap();
        assert_eq!(
            (&payload["method"], &payload["params"]),
            (&"thing.service.reboot".into(), &command.input)
        );
        for bad in ["", "12", "x1709596800000000", "1709596800000000"] {
            assert_eq!(decode_id(bad), None, "{bad}");
        }
    }
}
