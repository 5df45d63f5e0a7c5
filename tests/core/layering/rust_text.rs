//! Rust text as words and marks, without comments and literals: enough to see which names code uses.

/// A word or a mark of the code, and its line.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
    }
}

/// The words and marks of `text` that are code.
pub(super) fn code_tokens(text: &str) -> Vec<Token> {
    split(&code_only(text))
}

/// The text with comments and the insides of literals blanked, lines kept.
fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut index = 0;
    while index < chars.len() {
        let end = literal_or_comment_end(&chars, index);
        if end == index {
            code.push(chars[index]);
            index += 1;
        } else {
            code.extend(chars[index..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            index = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `start` ends; `start` itself if none begins there.
fn literal_or_comment_end(chars: &[char], start: usize) -> usize {
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let in_word = start > 0 && (at(start - 1).is_alphanumeric() || at(start - 1) == '_');
    match (at(start), at(start + 1)) {
        ('/', '/') => find(chars, start, "\n").unwrap_or(chars.len()),
        ('/', '*') => block_comment_end(chars, start),
        ('"', _) => quoted_end(chars, start + 1, '"'),
        ('r', '"' | '#') if !in_word || matches!(at(start.wrapping_sub(1)), 'b' | 'c') => raw_string_end(chars, start),
        ('\'', '\\') => quoted_end(chars, start + 1, '\''),
        ('\'', _) if at(start + 2) == '\'' => start + 3,
        _ => start,
    }
}

fn find(chars: &[char], from: usize, what: &str) -> Option<usize> {
    let what: Vec<char> = what.chars().collect();
    (from..chars.len()).find(|&index| chars[index..].starts_with(&what))
}

fn block_comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut index = start;
    while index < chars.len() {
        match chars[index..] {
            ['/', '*', ..] => (depth, index) = (depth + 1, index + 2),
            ['*', '/', ..] => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            return index;
        }
    }
    chars.len()
}

fn quoted_end(chars: &[char], inside: usize, quote: char) -> usize {
    let mut index = inside;
    while index < chars.len() && chars[index] != quote {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(chars.len())
}

/// `r"…"`, `r#"…"#`; a raw identifier (`r#type`) is none.
fn raw_string_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let inside = start + 1 + hashes;
    if chars.get(inside) != Some(&'"') {
        return start;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    find(chars, inside + 1, &close).map_or(chars.len(), |index| index + close.len())
}

fn split(code: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let length = match first {
                c if is_part(c) => rest.find(|c| !is_part(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            tokens.push(Token { text: rest[..length].to_owned(), line: number + 1 });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}
