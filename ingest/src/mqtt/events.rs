//! Events over MQTT: `thing/event/{id}/post`.
//!
//! Owns: the answer to such a message, and asking for a place for events that have none. Does not own: the message
//! ([`crate::decode::event`]).

use std::sync::Arc;

use wattline_model::OrgId;
use wattline_registry::{Device, RecordKind};

use super::answer::Answer;
use super::packet::Publish;
use super::session::{Session, Turn};
use crate::code::Code;
use crate::counters::TopicKind;
use crate::decode::event;

/// The identifier in the topic of an event, after the prefix of the device.
pub(super) fn event_of(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix("thing/event/")?.strip_suffix("/post")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// A name that came for the first time.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub(crate) org: OrgId,
    pub(crate) name: String,
}

impl Session {
    /// Takes an event; `false` where the message is to be tried again once its name has a place.
    pub(super) fn event(
        &mut self,
        message: &Publish<'_>,
        other: Option<Arc<Device>>,
        turn: &mut Turn,
        out: &mut Vec<u8>,
    ) -> bool {
        let name = message.topic.splitn(5, '/').nth(4).and_then(event_of).unwrap_or_default();
        let device = other.as_ref().unwrap_or(&self.device);
        let mut answer = Answer::to(TopicKind::Event, message);
        answer.own_topic = other.is_none();
        let ingestor = &self.endpoint.ingestor;
        match event::read(name, message.payload) {
            Err((id, fault)) => {
                answer.id = id.map(Into::into);
                answer.refuse(fault.code, fault.reason);
            }
            Ok(read) => {
                answer.id = read.id.clone().map(Into::into);
                let model = ingestor.registry().events_model(device.org);
                let known = model.as_ref().is_some_and(|model| model.point_by_key(name).is_some());
                if !known && !self.points_tried {
                    turn.new_event = Some(NewEvent { org: device.org, name: name.to_owned() });
                    return false;
                }
                let (now, time_max) = (turn.now, ingestor.time_max(turn.now));
                let added = match &model {
                    Some(model) => {
                        event::add(&read, model, name, device.asset, now, time_max, &mut turn.rows)
                    }
                    None => Err(crate::check::Fault::model("events of this organization have no place")),
                };
                if let Err(fault) = added {
                    answer.refuse(fault.code, fault.reason);
                }
            }
        }
        self.points_tried = false;
        if answer.code == Code::Ok {
            turn.events += 1;
        } else {
            ingestor.count().message(TopicKind::Event, answer.code);
        }
        self.answer(&answer, out);
        true
    }
}

impl crate::Ingestor {
    /// Gives an event's name a place. Blocks on the disk.
    pub(super) fn register_event(&self, new: &NewEvent) -> Result<(), crate::Error> {
        let refused = |e: wattline_registry::Error| crate::Error::new(crate::ErrorKind::Input, e.to_string());
        self.ensure_records_blocking(new.org, RecordKind::Events)?;
        if let Some(records) = self.registry().records(new.org, RecordKind::Events) {
            let point = wattline_registry::NewPoint::new(&*new.name, wattline_model::DataType::Struct);
            self.registry().ensure_points(records.model, vec![point]).map_err(refused)?;
        }
        Ok(())
    }
}
