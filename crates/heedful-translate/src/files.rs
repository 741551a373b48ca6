//! Files that are there whole or not at all.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside `path`, brings it to the disk, and renames it to `path`: whoever opens `path`, and whenever the power
/// goes, finds the old content or the new, never a part.
///
/// # Errors
/// If the folder cannot be made or the file cannot be written; what was at `path` is still there then.
pub fn write_atomically(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    // Temporary files are for the owner's eyes only by default; this one becomes an ordinary file, as the user's umask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
