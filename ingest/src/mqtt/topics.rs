//! Topics: which are a device's own, what a message to one is, which filters it may subscribe to.

use wattline_registry::Device;

use super::events::event_of;
use crate::decode::enos::Upload;
use crate::limits::{FILTER_BYTES_MAX, SUBSCRIPTIONS_MAX};

/// Requests about sub-devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Combine {
    Login,
    LoginBatch,
    Logout,
}

impl Combine {
    pub(crate) const fn method(self) -> &'static str {
        match self {
            Combine::Login => "combine.login",
            Combine::LoginBatch => "combine.login.batch",
            Combine::Logout => "combine.logout",
        }
    }
}

/// What a message to one of a device's own topics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Upload(Upload),
    Combine(Combine),
    /// An event.
    Event,
    /// The device's answer to something we sent.
    Answer,
    /// Anything else: not supported.
    Other,
}

/// The topics of one device: those that begin with one of two prefixes.
#[derive(Debug)]
pub(crate) struct Space {
    sys: String,
    session: String,
}

impl Space {
    pub(crate) fn new(device: &Device) -> Space {
        let (product, device) = (&device.product_key, &device.device_key);
        Space {
            sys: format!("/sys/{product}/{device}/"),
            session: format!("/ext/session/{product}/{device}/"),
        }
    }

    /// The prefix of its session topics.
    pub(crate) fn session(&self) -> &str {
        &self.session
    }

    /// What a message to `topic` is; `None` where the topic is not this device's.
    pub(crate) fn request(&self, topic: &str) -> Option<Request> {
        if let Some(rest) = topic.strip_prefix(self.sys.as_str()) {
            let upload = Upload::ALL.into_iter().find(|upload| upload.topic() == rest);
            return Some(match upload {
                Some(upload) => Request::Upload(upload),
                None if rest.ends_with("_reply") || rest.starts_with("rrpc/response/") => Request::Answer,
                None if event_of(rest).is_some() => Request::Event,
                None => Request::Other,
            });
        }
        let rest = topic.strip_prefix(self.session.as_str())?;
        Some(match rest {
            "combine/login" => Request::Combine(Combine::Login),
            "combine/login/batch" => Request::Combine(Combine::LoginBatch),
            "combine/logout" => Request::Combine(Combine::Logout),
            _ if rest.ends_with("_reply") => Request::Answer,
            _ => Request::Other,
        })
    }

    /// Whether every topic that `filter` matches is this device's.
    pub(crate) fn covers(&self, filter: &str) -> bool {
        filter.starts_with(self.sys.as_str()) || filter.starts_with(self.session.as_str())
    }
}

/// Product and device key of any topic of either form.
pub(crate) fn keys(topic: &str) -> Option<(&str, &str)> {
    let rest = topic.strip_prefix("/sys/").or_else(|| topic.strip_prefix("/ext/session/"))?;
    let (product, rest) = rest.split_once('/')?;
    let (device, _) = rest.split_once('/')?;
    Some((product, device))
}

/// Whether `filter` is well-formed: `#` alone in the last level, `+` alone in its level.
pub(crate) fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > FILTER_BYTES_MAX || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let fine = match level {
            "+" => true,
            "#" => levels.peek().is_none(),
            other => !other.contains(['+', '#']),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// Whether `topic` matches `filter`.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    let mut levels = topic.split('/');
    for wanted in filter.split('/') {
        match (wanted, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (wanted, Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

/// What a session has subscribed to.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    filters: Vec<Box<str>>,
    /// Whether the reply topic of each upload is heard, for replies are a message's other half.
    uploads: [bool; Upload::ALL.len()],
}

impl Subscriptions {
    /// Adds a filter; `false` where there are too many.
    pub(crate) fn add(&mut self, space: &Space, filter: &str) -> bool {
        if !self.filters.iter().any(|f| **f == *filter) {
            if self.filters.len() >= SUBSCRIPTIONS_MAX {
                return false;
            }
            self.filters.push(filter.into());
            self.refresh(space);
        }
        true
    }

    /// Removes a filter; `false` where it was not there.
    pub(crate) fn remove(&mut self, space: &Space, filter: &str) -> bool {
        let before = self.filters.len();
        self.filters.retain(|f| **f != *filter);
        self.refresh(space);
        self.filters.len() < before
    }

    fn refresh(&mut self, space: &Space) {
        for upload in Upload::ALL {
            let topic = format!("{}{}_reply", space.sys, upload.topic());
            self.uploads[upload as usize] = self.hears(&topic);
        }
    }

    /// Whether a message to `topic` is to be delivered.
    pub(crate) fn hears(&self, topic: &str) -> bool {
        self.filters.iter().any(|filter| matches(filter, topic))
    }

    /// Whether replies to this upload on the device's own topic are to be delivered.
    pub(crate) fn hears_upload(&self, upload: Upload) -> bool {
        self.uploads[upload as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Plant;

    #[test]
    fn filters_match_as_mqtt_says() {
        for (filter, topic, expected) in [
            ("/sys/p/d/#", "/sys/p/d/thing/x", true),
            ("/sys/p/d/#", "/sys/p/d", true),
            ("/sys/p/d/+/x", "/sys/p/d/thing/x", true),
            ("/sys/p/d/+", "/sys/p/d/thing/x", false),
            ("/sys/p/d/thing", "/sys/p/d/thing/x", false),
            ("/sys/p/d/thing/x", "/sys/p/d/thing/x", true),
            ("/sys/p/d/thing/x/y", "/sys/p/d/thing/x", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
        for bad in ["", "a/#/b", "a/b#", "a+/b", "a\0"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }

    #[test]
    fn own_topics_are_told_apart() {
        let plant = Plant::new();
        let space = Space::new(&plant.device("pkT", "dkT"));
        let request = |topic: &str| space.request(topic);
        assert_eq!(
            request("/sys/pkT/dkT/thing/measurepoint/resume/batch"),
            Some(Request::Upload(Upload::ResumeBatch))
        );
        assert_eq!(request("/ext/session/pkT/dkT/combine/logout"), Some(Request::Combine(Combine::Logout)));
        assert_eq!(request("/ext/session/pkT/dkT/thing/activate/info_reply"), Some(Request::Answer));
        assert_eq!(request("/sys/pkT/dkT/thing/tag/update"), Some(Request::Other));
        assert_eq!(request("/sys/pkT/dkT2/thing/measurepoint/post"), None);
        assert_eq!(request("sys/pkT/dkT/thing/measurepoint/post"), None);
        assert_eq!(keys("/sys/pkS/dkS1/thing/measurepoint/post"), Some(("pkS", "dkS1")));
    }

    #[test]
    fn replies_are_heard_where_a_filter_matches() {
        let plant = Plant::new();
        let space = Space::new(&plant.device("pkT", "dkT"));
        let mut subscriptions = Subscriptions::default();
        assert!(!subscriptions.hears_upload(Upload::Post));
        assert!(subscriptions.add(&space, "/sys/pkT/dkT/thing/measurepoint/post_reply"));
        assert!(subscriptions.hears_upload(Upload::Post) && !subscriptions.hears_upload(Upload::PostBatch));
        assert!(subscriptions.add(&space, "/sys/pkT/dkT/thing/+/post/#"));
        assert!(subscriptions.hears_upload(Upload::PostBatch));
        assert!(subscriptions.remove(&space, "/sys/pkT/dkT/thing/measurepoint/post_reply"));
        assert!(!subscriptions.hears_upload(Upload::Post));
        assert!(!subscriptions.remove(&space, "nothing"));
    }

    #[test]
    fn subscriptions_are_bounded() {
        let plant = Plant::new();
        let space = Space::new(&plant.device("pkT", "dkT"));
        let mut subscriptions = Subscriptions::default();
        for i in 0..SUBSCRIPTIONS_MAX {
            assert!(subscriptions.add(&space, &format!("/sys/pkT/dkT/{i}")));
        }
        assert!(!subscriptions.add(&space, "/sys/pkT/dkT/more"));
        assert!(subscriptions.add(&space, "/sys/pkT/dkT/0"), "the same again is no more");
    }
}
