//! Queries without their literals.

/// Meaning of double quotes, hashes and brackets in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `"name"` is a name.
    Postgres,
    /// `"text"` may be a literal, `#` may begin a comment.
    Other,
    /// A language that may not be SQL, such as the commands of Redis.
    Unknown,
}

/// Parts of names of databases that use SQL, in lower case.
const SQL_DATABASES: [&str; 15] = [
    "sql",
    "maria",
    "oracle",
    "db2",
    "clickhouse",
    "redshift",
    "snowflake",
    "cockroach",
    "duckdb",
    "aurora",
    "athena",
    "trino",
    "presto",
    "spanner",
    "bigquery",
];

impl Dialect {
    /// Returns the dialect of a kind of database, such as `PostgreSQL`.
    pub(super) fn of(kind: &str) -> Self {
        let kind = kind.to_ascii_lowercase();
        if kind.starts_with("postgres") {
            Self::Postgres
        } else if SQL_DATABASES.iter().any(|name| kind.contains(name)) && kind != "nosql" {
            Self::Other
        } else {
            Self::Unknown
        }
    }
}

/// Bytes of result after which reading ends: a document keeps 250 characters of at most 4 bytes.
const ENOUGH: usize = 1000;

/// Returns `query` without literals and comments, with white space and lists of placeholders
/// shortened.
///
/// There is no parser for each dialect. If dialects disagree on the end of a literal, the rest of
/// the query is dropped: after a backslash in a literal, an open literal, Oracle's `q'…'`.
pub(super) fn sanitize(query: &str, dialect: Dialect) -> String {
    if dialect == Dialect::Unknown {
        return first_word(query);
    }
    let mut sanitizer = Sanitizer::new(query, dialect);
    sanitizer.run();
    sanitizer.kept.trim_end().to_owned()
}

/// Returns the first word of a command, such as `SET` of Redis, and `?` for the rest.
fn first_word(command: &str) -> String {
    let command = command.trim();
    let word = command.split_whitespace().next().unwrap_or("");
    let is_word = word.len() <= 32 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '_');
    match (is_word, word.len() == command.len()) {
        (true, true) => word.to_owned(),
        (true, false) => format!("{word} ?"),
        (false, _) => "?".to_owned(),
    }
}

/// Signs that may begin a literal.
const QUOTES: [char; 3] = ['\'', '"', '`'];

struct Sanitizer<'a> {
    rest: &'a str,
    kept: String,
    dialect: Dialect,
    /// Bytes that remain after the last `[…]` that was searched: brackets before them need no
    /// search, so that many open brackets cost no more than one.
    after_bracket: usize,
    #[cfg(test)]
    searched: usize,
}

impl<'a> Sanitizer<'a> {
    fn new(query: &'a str, dialect: Dialect) -> Self {
        Self {
            rest: query,
            kept: String::with_capacity(query.len().min(512)),
            dialect,
            after_bracket: usize::MAX,
            #[cfg(test)]
            searched: 0,
        }
    }

    fn run(&mut self) {
        while !self.rest.is_empty() && self.kept.len() <= ENOUGH {
            if self.step().is_none() {
                self.put("?");
                break;
            }
        }
    }

    /// Reads one token. Returns `None` if its end is not certain.
    fn step(&mut self) -> Option<()> {
        let rest = self.rest;
        let first = rest.chars().next()?;
        match first {
            _ if rest.starts_with("--") => self.skip_line()?,
            '#' if self.dialect == Dialect::Other => self.skip_line()?,
            '[' if self.dialect == Dialect::Other => self.bracket()?,
            _ if rest.starts_with("/*") => self.skip_comment()?,
            '\'' => self.literal('\'')?,
            '"' if self.dialect == Dialect::Other => self.literal('"')?,
            '"' | '`' => {
                let name = self.quoted(first)?;
                self.put(name);
            }
            '$' => self.dollar()?,
            _ if first.is_ascii_digit() => self.number()?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            _ if is_word(first) => self.word()?,
            _ if first.is_whitespace() => {
                self.take(rest.len() - rest.trim_start().len());
                self.space();
            }
            _ => {
                let sign = self.take(first.len_utf8());
                self.put(sign);
            }
        }
        Some(())
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    fn put(&mut self, token: &str) {
        // One placeholder stands for a list of them.
        if token == "?" && self.kept.ends_with("?, ") {
            self.kept.truncate(self.kept.len() - 2);
        } else if token == "?" && self.kept.ends_with("?,") {
            self.kept.truncate(self.kept.len() - 1);
        } else {
            self.kept.push_str(token);
        }
    }

    fn space(&mut self) {
        if !self.kept.is_empty() && !self.kept.ends_with(' ') {
            self.kept.push(' ');
        }
    }

    /// Skips a comment that ends with the line. In some dialects `#` is part of a name, and in MySQL
    /// `--` without a space is two signs; a quote after them would begin a literal.
    fn skip_line(&mut self) -> Option<()> {
        let line = &self.rest[..self.rest.find('\n').unwrap_or(self.rest.len())];
        let sure = line.strip_prefix("--").is_some_and(|comment| {
            self.dialect == Dialect::Postgres || comment.starts_with(char::is_whitespace)
        });
        if !sure && (line.contains(QUOTES) || line.contains("/*")) {
            return None;
        }
        self.take(line.len());
        self.space();
        Some(())
    }

    /// `[…]` is a name in SQL Server and SQLite, where it may hold a quote.
    fn bracket(&mut self) -> Option<()> {
        if self.rest.len() > self.after_bracket {
            let sign = self.take(1);
            self.put(sign);
            return Some(());
        }
        let name = &self.rest[..self.rest.find(']').unwrap_or(self.rest.len())];
        self.after_bracket = self.rest.len() - name.len();
        #[cfg(test)]
        {
            self.searched += name.len();
        }
        if name.contains(QUOTES)
            || ["--", "/*", "#"]
                .iter()
                .any(|comment| name.contains(comment))
        {
            return None;
        }
        let sign = self.take(1);
        self.put(sign);
        Some(())
    }

    /// Skips a block comment. PostgreSQL nests them; in other dialects the first end closes all.
    fn skip_comment(&mut self) -> Option<()> {
        let end = self.rest[2..].find("*/")? + 2;
        if self.rest[2..end].contains("/*") {
            return None;
        }
        self.take(end + 2);
        self.space();
        Some(())
    }

    fn literal(&mut self, quote: char) -> Option<()> {
        if self.quoted(quote)?.contains('\\') {
            return None;
        }
        self.put("?");
        Some(())
    }

    /// Takes the text from a quote to its counterpart; a doubled quote is part of the text.
    fn quoted(&mut self, quote: char) -> Option<&'a str> {
        let mut end = 1;
        loop {
            end += self.rest[end..].find(quote)? + 1;
            if !self.rest[end..].starts_with(quote) {
                return Some(self.take(end));
            }
            end += 1;
        }
    }

    /// Reads PostgreSQL's placeholder `$1` or the literals `$$…$$` and `$tag$…$tag$`. A tag does not
    /// begin with a digit.
    fn dollar(&mut self) -> Option<()> {
        let name = self.rest[1..]
            .find(|c| !is_word(c))
            .map_or(self.rest.len(), |n| n + 1);
        if self.rest[name..].starts_with('$') {
            if self.rest[1..].starts_with(|c: char| c.is_numeric()) {
                return None;
            }
            let tag = self.take(name + 1);
            let end = self.rest.find(tag)?;
            self.take(end + tag.len());
            self.put("?");
        } else {
            let placeholder = self.take(name);
            self.put(placeholder);
        }
        Some(())
    }

    /// Reads a number. A dollar after it belongs to a literal or, in `1x$$`, to a name.
    fn number(&mut self) -> Option<()> {
        let mut before = ' ';
        let end = self.rest.find(|c: char| {
            let exponent = matches!(before, 'e' | 'E') && matches!(c, '+' | '-');
            let part = is_word(c) || c == '.' || exponent;
            before = c;
            !part
        });
        self.take(end.unwrap_or(self.rest.len()));
        if self.rest.starts_with('$') {
            return None;
        }
        self.put("?");
        Some(())
    }

    /// Reads a name or keyword. It may hold `$` in PostgreSQL and others; where it may not, `$tag$`
    /// would begin a literal.
    fn word(&mut self) -> Option<()> {
        let end = self.rest.find(|c| !is_word(c) && c != '$');
        let word = self.take(end.unwrap_or(self.rest.len()));
        if self.dialect != Dialect::Postgres && word.matches('$').count() > 1 {
            return None;
        }
        if self.rest.starts_with('\'') && matches!(word, "q" | "Q" | "nq" | "NQ" | "nQ" | "Nq") {
            return None;
        }
        self.put(word);
        Some(())
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests;
