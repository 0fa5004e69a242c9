//! Finding users by a part of their ids.

/// How many users one request looks at, at most by the part of a table more. It takes some
/// milliseconds, which everyone else waits. The answer says where the next request goes on.
pub const LOOKED: usize = 16_384;

/// A part of an id. The letters A to Z and a to z are the same in it.
#[derive(Debug, Default)]
pub struct Needle {
    part: String,
    /// The id that is looked at, in small letters.
    id: String,
}

impl Needle {
    /// `None` is a part of every id.
    pub fn new(part: Option<&str>) -> Self {
        Needle { part: part.unwrap_or_default().to_ascii_lowercase(), id: String::new() }
    }

    pub fn is_in(&mut self, id: &str) -> bool {
        if self.part.is_empty() {
            return true;
        }
        if id.len() < self.part.len() {
            return false;
        }
        self.id.clear();
        self.id.push_str(id);
        self.id.make_ascii_lowercase();
        self.id.contains(&*self.part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_found_anywhere_in_an_id_whatever_the_case_of_its_letters() {
        let mut needle = Needle::new(Some("Li"));
        for (id, is_in) in
            [("alice", true), ("LI", true), ("li", true), ("l", false), ("il", false)]
        {
            assert_eq!(needle.is_in(id), is_in, "{id}");
        }
        assert!(Needle::new(Some("小")).is_in("用户小明") && !Needle::new(Some("小")).is_in("明"));
        assert!(Needle::new(None).is_in("") && Needle::new(None).is_in("a"));
    }
}
