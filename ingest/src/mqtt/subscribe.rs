//! SUBSCRIBE and UNSUBSCRIBE.
//!
//! Owns: which filters a session is granted. Does not own: matching ([`super::topics`]).

use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

use super::packet::{self, Malformed, Version, reason};
use super::session::{End, Session};
use super::topics::{Space, is_filter, matches};

impl Session {
    /// Answers a SUBSCRIBE, and tells a device that came to be activated its secret once it listens.
    pub(super) fn subscribe(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), End> {
        let bad = |_| End::from(Malformed("a malformed SUBSCRIBE"));
        let (packet_id, filters) = match self.version {
            Version::V311 => {
                let (packet, _) = v3_1_1::Subscribe::parse(body).map_err(bad)?;
                (packet.packet_id(), packet.entries().clone())
            }
            Version::V5 => {
                let (packet, _) = v5_0::Subscribe::parse(body).map_err(bad)?;
                (packet.packet_id(), packet.entries().clone())
            }
        };
        let mut codes = Vec::with_capacity(filters.len());
        let mut activates = false;
        for entry in &filters {
            let (granted, filter) = (self.grant(entry.topic_filter()), entry.topic_filter());
            activates |= granted.is_ok() && self.activation && matches(filter, &self.activation_topic());
            codes.push(match (granted, self.version) {
                // Granted as asked, up to 1. What we send goes at QoS 0: it is lost with the connection, and the
                // message it answers is then sent again.
                (Ok(()), _) => (entry.sub_opts().qos() as u8).min(1),
                (Err(_), Version::V311) => 0x80,
                (Err(code), Version::V5) => code,
            });
        }
        packet::put_suback(out, self.version, 0x90, packet_id, &codes);
        if activates {
            self.put_activation(out);
        }
        Ok(())
    }

    /// Adds a subscription, or gives the reason code against it.
    fn grant(&mut self, filter: &str) -> Result<(), u8> {
        let own =
            self.space.covers(filter) || self.others.values().any(|other| Space::new(other).covers(filter));
        if !is_filter(filter) {
            Err(0x8F)
        } else if !own {
            Err(reason::NOT_AUTHORIZED)
        } else if !self.subscriptions.add(&self.space, filter) {
            Err(reason::QUOTA)
        } else {
            Ok(())
        }
    }

    /// Answers an UNSUBSCRIBE.
    pub(super) fn unsubscribe(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<(), End> {
        let bad = |_| End::from(Malformed("a malformed UNSUBSCRIBE"));
        let (packet_id, filters) = match self.version {
            Version::V311 => {
                let (packet, _) = v3_1_1::Unsubscribe::parse(body).map_err(bad)?;
                (packet.packet_id(), packet.entries().clone())
            }
            Version::V5 => {
                let (packet, _) = v5_0::Unsubscribe::parse(body).map_err(bad)?;
                (packet.packet_id(), packet.entries().clone())
            }
        };
        let subscriptions = &mut self.subscriptions;
        let codes: Vec<u8> = filters
            .iter()
            .map(|f| if subscriptions.remove(&self.space, f.as_str()) { reason::SUCCESS } else { 0x11 })
            .collect();
        packet::put_unsuback(out, self.version, packet_id, &codes);
        Ok(())
    }
}
