//! A file system of its own: full and read-only are conditions of a file system.

use std::path::{Path, PathBuf};

use tresor_testkit::{LONG, run};

/// A mounted tmpfs; unmounted with the value. Declared after the directory that holds it.
pub(super) struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one of that many MiB. Needs root, as the set-up does.
    pub(super) async fn mount(at: PathBuf, mib: u32) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let size = format!("size={mib}m,mode=0700");
        let path = at.to_str().unwrap();
        let words = ["-t", "tmpfs", "-o", &size, "tresor-test", path];
        run("mount", &words, LONG).await.unwrap();
        Self(at)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) async fn remount(&self, option: &str) {
        let option = format!("remount,{option}");
        let words = ["-o", &option, self.0.to_str().unwrap()];
        run("mount", &words, LONG).await.unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a program that a failed test left running must not keep the mount.
        let ended = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
        assert!(ended.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}
