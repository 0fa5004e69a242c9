//! What a Rust file names: its paths, resolved through its imports, its macros and its methods.
//!
//! Comments, documentation, attributes, literals and everything under `#[cfg(test)]` are left out.

use std::collections::BTreeMap;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Something that a file names, and the line where it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub line: usize,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A path from its root: `crate::hub::Context`, `std::time::Instant::now`. An import
    /// of everything ends with `*`.
    Path(Vec<String>),
    /// `println` of `println!(…)`.
    Macro(String),
    /// `unwrap` of `value.unwrap()`.
    Method(String),
    /// A keyword that a rule may forbid: `unsafe`.
    Keyword(String),
}

/// A file's names, and which of its modules are tests in a file of their own.
#[derive(Debug, Default)]
pub struct Source {
    pub named: Vec<Named>,
    pub test_modules: Vec<String>,
}

/// Reads `text`, the file of `module`: `crate::hub::send` is `["crate", "hub", "send"]`.
pub fn read(text: &str, module: &[String]) -> Source {
    let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("no Rust: {e}"));
    let mut source = Source::default();
    let scope = Scope { module: module.to_vec(), imports: BTreeMap::new() };
    walk(&without_tests(tokens, &mut source.test_modules), &scope, &mut source.named);
    source
}

/// A module, which may be an inline one, and the path that each name stands for through its imports.
struct Scope {
    module: Vec<String>,
    imports: BTreeMap<String, Vec<String>>,
}

impl Scope {
    fn resolve(&self, path: &[String]) -> Vec<String> {
        let mut at = self.module.clone();
        let mut rest = path;
        match path[0].as_str() {
            "crate" => at.truncate(1),
            "self" => {}
            "super" => {
                while let Some((first, others)) = rest.split_first()
                    && first == "super"
                {
                    at.pop();
                    rest = others;
                }
                at.extend_from_slice(rest);
                return at;
            }
            first => match self.imports.get(first) {
                Some(meant) => at.clone_from(meant),
                None => return path.to_vec(),
            },
        }
        at.extend_from_slice(&rest[1..]);
        at
    }
}

/// Leaves out the items that have `#[cfg(test)]`, and all attributes.
fn without_tests(tokens: TokenStream, test_modules: &mut Vec<String>) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    let mut is_test = false;
    while let Some(token) = tokens.next() {
        if is_punct(&token, '#') {
            tokens.next_if(|it| is_punct(it, '!'));
            match tokens.next() {
                Some(TokenTree::Group(attribute)) => is_test |= is_cfg_test(attribute.stream()),
                other => kept.extend(other),
            }
        } else if is_test {
            is_test = false;
            let mut item = vec![token];
            while !ends_item(&item) {
                let Some(next) = tokens.next() else { break };
                item.push(next);
            }
            if let [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(_)] = &item[..]
                && word == "mod"
            {
                test_modules.push(name.to_string());
            }
        } else {
            kept.push(token);
        }
    }
    kept
}

fn is_cfg_test(attribute: TokenStream) -> bool {
    matches!(attribute.to_string().replace(' ', "").as_str(), "cfg(test)")
}

/// An item ends with its braces or with a semicolon; an import only with the latter.
fn ends_item(item: &[TokenTree]) -> bool {
    let is_import = item.iter().any(|it| matches!(it, TokenTree::Ident(word) if word == "use"));
    match item.last() {
        Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Brace && !is_import,
        Some(token) => is_punct(token, ';'),
        None => false,
    }
}

fn walk(tokens: &[TokenTree], outside: &Scope, named: &mut Vec<Named>) {
    let mut scope = Scope { module: outside.module.clone(), imports: outside.imports.clone() };
    import(tokens, &mut scope, named);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word) if word == "use" && is_import(tokens, at) => {
                at = end_of_import(tokens, at);
            }
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    let mut module = scope.module.clone();
                    module.push(name.to_string());
                    let inside = Scope { module, imports: BTreeMap::new() };
                    walk(&without_tests(body.stream(), &mut Vec::new()), &inside, named);
                    at += 2;
                }
                at += 1;
            }
            TokenTree::Ident(word) => {
                let line = word.span().start().line;
                let (path, next) = path_at(tokens, at);
                let after_dot = at > 0 && is_punct(&tokens[at - 1], '.');
                let calls = matches!(tokens.get(next), Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Parenthesis);
                let bang = matches!(tokens.get(next), Some(TokenTree::Punct(punct))
                    if punct.as_char() == '!' && punct.spacing() == Spacing::Alone)
                    && matches!(tokens.get(next + 1), Some(TokenTree::Group(_)));
                if path.len() > 1 {
                    named.push(Named { line, what: What::Path(scope.resolve(&path)) });
                } else if after_dot && calls {
                    named.push(Named { line, what: What::Method(path[0].clone()) });
                } else if path[0] == "unsafe" {
                    named.push(Named { line, what: What::Keyword(path[0].clone()) });
                }
                if bang {
                    let name = path[path.len() - 1].clone();
                    named.push(Named { line, what: What::Macro(name) });
                }
                at = next;
            }
            TokenTree::Group(group) => {
                walk(&without_tests(group.stream(), &mut Vec::new()), &scope, named);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

/// The path that begins at `at`, and where it ends.
fn path_at(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let (mut path, mut at) = (vec![tokens[at].to_string()], at + 1);
    while is_double_colon(tokens, at)
        && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
    {
        path.push(next.to_string());
        at += 3;
    }
    (path, at)
}

/// Reads the imports among `tokens`: they hold for all of the block, whatever stands before them.
fn import(tokens: &[TokenTree], scope: &mut Scope, named: &mut Vec<Named>) {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        if matches!(&tokens[at], TokenTree::Ident(word) if word == "use") && is_import(tokens, at) {
            let end = end_of_import(tokens, at);
            leaves(&tokens[at + 1..end], &[], &mut found);
        }
    }
    // An import may begin with a name that another import brings in, even a later one.
    for _ in 0..2 {
        for (_, path, name) in &found {
            let resolved = scope.resolve(path);
            if scope.imports.get(name).is_none_or(|known| *known != resolved) && name != &path[0] {
                scope.imports.insert(name.clone(), resolved);
            }
        }
    }
    for (line, path, _) in found {
        named.push(Named { line, what: What::Path(scope.resolve(&path)) });
    }
}

fn is_import(tokens: &[TokenTree], at: usize) -> bool {
    match tokens.get(at + 1) {
        Some(TokenTree::Ident(_) | TokenTree::Group(_)) => true,
        // `impl Trait + use<'a>` is no import.
        Some(token) => is_punct(token, ':'),
        None => false,
    }
}

fn end_of_import(tokens: &[TokenTree], at: usize) -> usize {
    (at..tokens.len()).find(|&i| is_punct(&tokens[i], ';')).unwrap_or(tokens.len())
}

/// Every leaf of a tree of imports: its line, its path, and the name that it gets.
fn leaves(tree: &[TokenTree], prefix: &[String], found: &mut Vec<(usize, Vec<String>, String)>) {
    let mut path = prefix.to_vec();
    let (mut at, mut line, mut name) = (0, 0, None);
    while at < tree.len() {
        match &tree[at] {
            TokenTree::Ident(word) if word == "as" => {
                name = tree.get(at + 1).map(ToString::to_string);
                at += 1;
            }
            TokenTree::Ident(word) => {
                line = word.span().start().line;
                // `use a::{self}` imports `a`.
                if word != "self" || path.is_empty() {
                    path.push(word.to_string());
                }
            }
            token if is_punct(token, '*') => {
                line = token.span().start().line;
                path.push("*".to_owned());
            }
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let branches = inner.split(|token| is_punct(token, ','));
                for branch in branches.filter(|branch| !branch.is_empty()) {
                    leaves(branch, &path, found);
                }
                return;
            }
            _ => {}
        }
        at += 1;
    }
    if let Some(last) = path.last() {
        let name = name.unwrap_or_else(|| last.clone());
        found.push((line, path, name));
    }
}

fn is_punct(token: &TokenTree, is: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == is)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Joint)
        && matches!(tokens.get(at + 1), Some(token) if is_punct(token, ':'))
}
