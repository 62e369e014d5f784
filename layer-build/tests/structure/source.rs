//! The modules of a crate, with the names that each defines and the paths that it mentions.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::visit::{self, Visit};
use syn::{Attribute, ImplItem, Item, ItemMod, Meta, Token, UseTree};

/// A crate: the root file of a Cargo target and every file below it.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    pub(crate) files: Vec<File>,
    /// The first one is the crate's root.
    pub(crate) modules: Vec<Module>,
}

/// A source file.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    /// True for a file that only a test build compiles.
    pub(crate) test: bool,
}

/// A module, in a separate file or inline.
#[derive(Debug, Default)]
pub(crate) struct Module {
    pub(crate) file: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) children: BTreeMap<String, usize>,
    pub(crate) definitions: BTreeSet<String>,
    /// Names that `macro_rules!` defines here.
    pub(crate) macros: BTreeSet<String>,
    /// Names that `use` brings into scope, each with the path it stands for.
    pub(crate) imports: Vec<(String, Vec<String>)>,
    /// Paths of `use path::*`.
    pub(crate) globs: Vec<Vec<String>>,
    pub(crate) mentions: Vec<Mention>,
}

/// A path in the source, for example in a `use`, a type or an expression.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    /// True for the path of a macro call.
    pub(crate) is_macro: bool,
    pub(crate) line: usize,
}

impl Crate {
    /// Reads the crate whose root file is `root`.
    ///
    /// # Panics
    ///
    /// If a file is missing or is not valid Rust.
    pub(crate) fn read(root: &Path) -> Self {
        let mut read = Self::default();
        let folder = root.parent().unwrap();
        read.file(root, folder, None, false);
        read
    }

    /// Reads a file, whose modules live in `folder`, and returns its module.
    fn file(&mut self, path: &Path, folder: &Path, parent: Option<usize>, test: bool) -> usize {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| {
            let line = error.span().start().line;
            panic!("{}:{line}: {error}", path.display())
        });
        let path = path.to_owned();
        self.files.push(File { path, test });
        let file = self.files.len() - 1;
        self.module(file, &parsed.items, folder, parent, test)
    }

    /// Reads the items of a module. `test` is true in a module that only a test build compiles.
    fn module(
        &mut self,
        file: usize,
        items: &[Item],
        folder: &Path,
        parent: Option<usize>,
        test: bool,
    ) -> usize {
        // Test code beside the code under test is no part of the structure. A test file is.
        let mut collector = Collector {
            module: Module {
                file,
                parent,
                ..Module::default()
            },
            silent: test && !self.files[file].test,
            in_test: test,
        };
        let (modules, others): (Vec<_>, Vec<_>) =
            items.iter().partition(|item| matches!(item, Item::Mod(_)));
        for item in others {
            collector.visit_item(item);
        }
        self.modules.push(collector.module);
        let own = self.modules.len() - 1;
        for item in modules {
            let Item::Mod(item) = item else { continue };
            let test = test || is_test_only(&item.attrs);
            let name = name(&item.ident);
            let child = match &item.content {
                Some((_, items)) => self.module(file, items, &folder.join(&name), Some(own), test),
                None => {
                    let (path, folder) = self.locate(item, file, folder);
                    self.file(&path, &folder, Some(own), test)
                }
            };
            self.modules[own].children.insert(name, child);
        }
        own
    }

    /// Returns the path of a module's file and the folder of that file's own modules.
    fn locate(&self, item: &ItemMod, file: usize, folder: &Path) -> (PathBuf, PathBuf) {
        if let Some(path) = item.attrs.iter().find_map(path_attribute) {
            let path = self.files[file].path.parent().unwrap().join(path);
            let folder = path.parent().unwrap().to_owned();
            return (path, folder);
        }
        let inner = folder.join(name(&item.ident));
        let file = inner.with_extension("rs");
        let path = if file.exists() {
            file
        } else {
            inner.join("mod.rs")
        };
        (path, inner)
    }
}

/// Returns the text of `#[path = "text"]`.
fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    let syn::Expr::Lit(literal) = &pair.value else {
        return None;
    };
    match &literal.lit {
        syn::Lit::Str(text) if pair.path.is_ident("path") => Some(text.value()),
        _ => None,
    }
}

/// Returns true if a `cfg` among the attributes is false in every build without `test`.
fn is_test_only(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            list.parse_args::<Meta>().is_ok_and(|cfg| is_false(&cfg))
        }
        _ => false,
    })
}

/// Returns true if `cfg` is false without `test`, however the other settings are.
fn is_false(cfg: &Meta) -> bool {
    let Meta::List(list) = cfg else {
        return cfg.path().is_ident("test");
    };
    let parts =
        list.parse_args_with(syn::punctuated::Punctuated::<Meta, Token![,]>::parse_terminated);
    let parts = parts.unwrap_or_default();
    if list.path.is_ident("all") {
        parts.iter().any(is_false)
    } else {
        list.path.is_ident("any") && parts.iter().all(is_false)
    }
}

/// The name without `r#`.
fn name(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// Collects what the items of one module define and mention.
struct Collector {
    module: Module,
    /// True while mentions are not collected.
    silent: bool,
    in_test: bool,
}

impl Collector {
    fn mention(&mut self, path: Vec<String>, is_macro: bool, at: &Ident) {
        if !self.silent {
            let line = at.span().start().line;
            self.module.mentions.push(Mention {
                path,
                is_macro,
                line,
            });
        }
    }

    /// Runs `visit`, without collecting mentions if only a test build compiles the item.
    fn unless_test(&mut self, attributes: &[Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.silent;
        self.silent |= !self.in_test && is_test_only(attributes);
        visit(self);
        self.silent = before;
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |ident: &Ident| {
            let mut path = before.to_vec();
            path.push(name(ident));
            path
        };
        match tree {
            UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(before, tree);
                }
            }
            UseTree::Name(leaf) if leaf.ident == "self" => {
                self.import(before.last().cloned(), before.to_vec(), &leaf.ident);
            }
            UseTree::Name(leaf) => {
                self.import(Some(name(&leaf.ident)), with(&leaf.ident), &leaf.ident);
            }
            UseTree::Rename(leaf) => {
                let path = if leaf.ident == "self" {
                    before.to_vec()
                } else {
                    with(&leaf.ident)
                };
                let alias = (leaf.rename != "_").then(|| name(&leaf.rename));
                self.import(alias, path, &leaf.ident);
            }
            UseTree::Glob(_) => self.module.globs.push(before.to_vec()),
        }
    }

    fn import(&mut self, name: Option<String>, path: Vec<String>, at: &Ident) {
        self.mention(path.clone(), false, at);
        if let Some(name) = name {
            self.module.imports.push((name, path));
        }
    }

    /// Finds the paths in the arguments of a macro, which have no grammar.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let is = |at: usize, sign: char| matches!(tokens.get(at), Some(TokenTree::Punct(found)) if found.as_char() == sign);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(first)
                    if at == 0 || !is(at - 1, '.') || is(at.max(2) - 2, '.') =>
                {
                    let mut path = vec![name(first)];
                    let mut last = first;
                    while is(at + 1, ':') && is(at + 2, ':') {
                        let Some(TokenTree::Ident(next)) = tokens.get(at + 3) else {
                            break;
                        };
                        path.push(name(next));
                        last = next;
                        at += 3;
                    }
                    self.mention(path, is(at + 1, '!'), last);
                }
                _ => {}
            }
            at += 1;
        }
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, defined) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::TraitAlias(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Union(item) => (&item.attrs, Some(&item.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Macro(item) => (&item.attrs, None),
            Item::Use(item) => (&item.attrs, None),
            // Modules inside of functions, and what calls other languages: there are none.
            _ => return,
        };
        if let Some(ident) = defined {
            self.module.definitions.insert(name(ident));
        }
        self.unless_test(attributes, |own| visit::visit_item(own, item));
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        self.unless_test(attributes, |own| visit::visit_impl_item(own, item));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.unless_test(&field.attrs, |own| visit::visit_field(own, field));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.unless_test(&field.attrs, |own| visit::visit_field_value(own, field));
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.unless_test(&local.attrs, |own| visit::visit_local(own, local));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.use_tree(&[], &item.tree);
        }
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        if let Some(ident) = &item.ident {
            self.module.macros.insert(name(ident));
        }
        visit::visit_item_macro(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let names = path.segments.iter().map(|part| name(&part.ident));
            self.mention(names.collect(), false, &path.segments.last().unwrap().ident);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let names = call.path.segments.iter().map(|part| name(&part.ident));
        let last = &call.path.segments.last().unwrap().ident;
        self.mention(names.collect(), true, last);
        self.tokens(call.tokens.clone());
    }

    // Neither says what a file depends on.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}
