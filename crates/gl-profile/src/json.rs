//! JSON into nodes: the tokens with their lines, which `serde_json` does not keep.

use std::collections::BTreeSet;

use crate::node::{Kind, Lines, Member, Node};

/// Lists and objects within each other, at most: a profile has four.
const MAX_DEPTH: usize = 32;

/// What is wrong with a JSON text, and at which byte.
pub(crate) struct Failure {
    pub(crate) offset: usize,
    pub(crate) problem: String,
}

/// Reads one JSON value.
pub(crate) fn read(text: &str, lines: &Lines) -> Result<Node, Failure> {
    let mut reader = Reader { text, at: 0, lines };
    let node = reader.value(0)?;
    reader.blanks();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.failure("expected the end of the document")),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    lines: &'a Lines,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn failure(&self, problem: &str) -> Failure {
        Failure {
            offset: self.at,
            problem: problem.to_owned(),
        }
    }

    fn skip(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| b" \t\r\n".contains(&byte)) {
            self.skip();
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.blanks();
        let there = self.peek() == Some(byte);
        if there {
            self.skip();
        }
        there
    }

    fn value(&mut self, depth: usize) -> Result<Node, Failure> {
        self.blanks();
        if depth > MAX_DEPTH {
            return Err(self.failure("lists and objects are nested too deeply"));
        }
        let line = self.lines.at(self.at);
        let kind = match self.peek() {
            Some(b'"') => Kind::Text(self.string()?),
            Some(b'[') => self.list(depth)?,
            Some(b'{') => self.object(depth)?,
            _ => self.word()?,
        };
        Ok(Node { line, kind })
    }

    fn list(&mut self, depth: usize) -> Result<Kind, Failure> {
        self.skip();
        let mut items = Vec::new();
        if self.take(b']') {
            return Ok(Kind::List(items));
        }
        loop {
            items.push(self.value(depth.saturating_add(1))?);
            if self.take(b']') {
                return Ok(Kind::List(items));
            }
            if !self.take(b',') {
                return Err(self.failure("expected a comma or ] in a list"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Kind, Failure> {
        self.skip();
        let mut members: Vec<Member> = Vec::new();
        let mut keys = BTreeSet::new();
        if self.take(b'}') {
            return Ok(Kind::Table(members));
        }
        loop {
            self.blanks();
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.failure("expected a key in quotes"));
            }
            let key = self.string()?;
            if !keys.insert(key.clone()) {
                return Err(Failure {
                    offset: start,
                    problem: format!("duplicate key {key:?}"),
                });
            }
            if !self.take(b':') {
                return Err(self.failure("expected a colon after a key"));
            }
            let value = self.value(depth.saturating_add(1))?;
            members.push(Member {
                key,
                line: self.lines.at(start),
                value,
            });
            if self.take(b'}') {
                return Ok(Kind::Table(members));
            }
            if !self.take(b',') {
                return Err(self.failure("expected a comma or } in an object"));
            }
        }
    }

    /// A string with its quotes; what is between them is read by `serde_json`.
    fn string(&mut self) -> Result<String, Failure> {
        let start = self.at;
        self.skip();
        while let Some(byte) = self.peek() {
            self.skip();
            match byte {
                b'"' => {
                    let token = self.text.get(start..self.at).unwrap_or_default();
                    return serde_json::from_str(token).map_err(|error| Failure {
                        offset: start,
                        problem: format!("bad string: {error}"),
                    });
                }
                b'\\' => self.skip(),
                _ => {}
            }
        }
        Err(Failure {
            offset: start,
            problem: "a string does not end".to_owned(),
        })
    }

    /// `true`, `false`, `null` or a number.
    fn word(&mut self) -> Result<Kind, Failure> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        {
            self.skip();
        }
        let token = self.text.get(start..self.at).unwrap_or_default();
        let bad = |problem: String| Failure {
            offset: start,
            problem,
        };
        match serde_json::from_str::<serde_json::Value>(token) {
            Ok(serde_json::Value::Bool(value)) => Ok(Kind::Bool(value)),
            Ok(serde_json::Value::Number(number)) => Ok(number
                .as_i64()
                .map_or_else(|| Kind::Other(token.to_owned()), Kind::Integer)),
            Ok(_) => Ok(Kind::Other(token.to_owned())),
            Err(_) if token.is_empty() => Err(bad("expected a value".to_owned())),
            Err(_) => Err(bad(format!("expected a value, found {token:?}"))),
        }
    }
}
