//! Holds the arrows between crates: who may depend on whom, and which layers stay free of IO, async and SQL.
//!
//! A new arrow is an architectural decision: change `docs/decisions/` and the tables here together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use wattline_tests::server::repo;

/// Package, its folder, and the packages of this workspace it may depend on.
const ARROWS: &[(&str, &str, &[&str])] = &[
    ("wattline-model", "model", &[]),
    ("wattline-registry", "registry", &["wattline-model"]),
    ("wattline-env", "storage/env", &[]),
    ("wattline-format", "storage/format", &["wattline-model"]),
    ("wattline-storage", "storage", &["wattline-model", "wattline-env", "wattline-format"]),
    ("wattline-ingest", "ingest", &["wattline-model", "wattline-registry", "wattline-storage"]),
    ("wattline-series", "query/series", &["wattline-model"]),
    (
        "wattline-dataservice",
        "dataservice",
        &["wattline-model", "wattline-registry", "wattline-storage", "wattline-series"],
    ),
    (
        "wattline-query",
        "query",
        &["wattline-model", "wattline-registry", "wattline-storage", "wattline-series"],
    ),
    (
        "wattline",
        "server",
        &[
            "wattline-model",
            "wattline-registry",
            "wattline-env",
            "wattline-storage",
            "wattline-ingest",
            "wattline-query",
            "wattline-dataservice",
        ],
    ),
    // Outside the product: they see the binary only.
    ("wattline-tests", "tests", &[]),
    ("wattline-benches", "benches", &["wattline-tests"]),
];

/// Arrows that tests of a crate may use beyond those of its code.
const DEV_ARROWS: &[(&str, &[&str])] = &[
    // Tests open stores on a simulated or a real world.
    ("wattline-ingest", &["wattline-env"]),
    ("wattline-query", &["wattline-env"]),
    ("wattline-dataservice", &["wattline-env"]),
];

/// Outside crates that are kept to some packages, by the beginning of their name.
const KEPT_TO: &[(&str, &[&str])] = &[
    ("datafusion", &["wattline-query", "wattline"]),
    ("axum", &["wattline"]),
    ("rusqlite", &["wattline-registry"]),
    ("tokio", &["wattline-ingest", "wattline-query", "wattline", "wattline-benches"]),
    ("parquet", &["wattline-query", "wattline", "wattline-ingest"]),
    ("memmap2", &["wattline-env", "wattline-storage"]),
];

/// The packages without any outside dependency.
const NO_DEPENDENCIES: &[&str] = &["wattline-model"];

/// Folder, and texts its code must not contain outside tests.
const KEPT_OUT: &[(&str, &[&str])] = &[
    ("model/src", &["std::fs", "std::net", "std::thread", "SystemTime", "Instant::now"]),
    ("storage/format/src", &["std::fs", "std::net", "std::thread", "SystemTime", "Instant::now"]),
    ("storage/src", &["std::fs", "std::net", "SystemTime"]),
    (
        "query/series/src",
        &["std::fs", "std::net", "std::thread", "SystemTime", "Instant::now", "Timestamp::now"],
    ),
    ("query/src", &["std::fs", "std::net"]),
    (
        "dataservice/src",
        &["std::fs", "std::net", "std::thread", "SystemTime", "Instant::now", "Timestamp::now"],
    ),
];

type Dependencies = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_use_only_those_below_them() {
    let mut wrong = Vec::new();
    for (package, folder, allowed) in ARROWS {
        let dependencies = read_dependencies(&repo().join(folder), package);
        let dev = DEV_ARROWS.iter().find(|(p, _)| p == package).map_or(&[][..], |(_, list)| list);
        for (table, names) in &dependencies {
            for name in names {
                let ours = ARROWS.iter().any(|(p, _, _)| p == name);
                let dev_allowed = table == "dev-dependencies" && dev.contains(&name.as_str());
                if ours && !allowed.contains(&name.as_str()) && !dev_allowed {
                    wrong.push(format!("{package} -> {name} ({table})"));
                }
                let kept = KEPT_TO.iter().find(|(prefix, _)| name.starts_with(prefix));
                if kept.is_some_and(|(_, packages)| !packages.contains(package))
                    && table != "dev-dependencies"
                {
                    wrong.push(format!(
                        "{package} -> {name}: kept to {:?}",
                        kept.map(|(_, packages)| packages)
                    ));
                }
            }
        }
        if NO_DEPENDENCIES.contains(package)
            && dependencies.get("dependencies").is_some_and(|d| !d.is_empty())
        {
            wrong.push(format!("{package} has dependencies"));
        }
    }
    assert!(wrong.is_empty(), "arrows that the design does not have:\n{}", wrong.join("\n"));
}

#[test]
fn every_crate_of_the_workspace_is_in_the_table() {
    let text = std::fs::read_to_string(repo().join("Cargo.toml")).unwrap();
    let workspace: toml::Table = text.parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<&str> = members.iter().map(|m| m.as_str().unwrap()).collect();
    let table: BTreeSet<&str> = ARROWS.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(members, table);
}

#[test]
fn layers_without_io_have_none() {
    let mut wrong = Vec::new();
    for (folder, texts) in KEPT_OUT {
        let files = rust_files(&repo().join(folder));
        assert!(!files.is_empty(), "{folder} has no code: the table is out of date");
        for file in files {
            let code = code_without_tests(&std::fs::read_to_string(&file).unwrap());
            for (number, line) in code.lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for text in texts.iter().filter(|text| code.contains(**text)) {
                    wrong.push(format!("{}:{}: {text}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "layers that must not do this themselves:\n{}", wrong.join("\n"));
}

/// The names in every dependency table of a package, by the table's name, target-specific ones included.
fn read_dependencies(folder: &Path, package: &str) -> Dependencies {
    let text = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some(package), "{}", folder.display());
    let mut found = Dependencies::new();
    let mut tables = vec![&manifest];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().filter_map(toml::Value::as_table));
    }
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(list) = table.get(kind).and_then(toml::Value::as_table) else { continue };
            let names = list.iter().map(|(key, value)| {
                // A renamed dependency carries its real name inside.
                value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_owned()
            });
            found.entry(kind.to_owned()).or_default().extend(names);
        }
    }
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            files.extend(rust_files(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" {
            files.push(path);
        }
    }
    files
}

/// The part of a file before its test module.
fn code_without_tests(text: &str) -> String {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").to_owned()
}
