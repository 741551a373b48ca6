//! Tells the program whether there is a model to build in.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(built_in_model)");
    println!("cargo::rerun-if-changed=models");
    if std::path::Path::new("models/de-en.safetensors").exists() {
        println!("cargo::rustc-cfg=built_in_model");
    }
}
