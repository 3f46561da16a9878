//! Storage whose power can be cut: what was written and not yet synced may be lost in part, sector
//! by sector and in any order. Knows nothing of what is stored.
//!
//! A disk keeps whole sectors: after a cut each sector holds what was last synced, or what it held
//! after any later change. The length is one of those since the last sync as well.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use crate::random::Random;

/// What a disk writes at once.
const SECTOR: usize = 512;

type Sector = [u8; SECTOR];

/// The power of a machine: its disks lose it together.
#[derive(Clone, Debug)]
pub struct Power(Arc<Mutex<Supply>>);

#[derive(Debug)]
struct Supply {
    /// Writes and syncs until the cut; none where nothing is planned.
    left: Option<u64>,
    used: u64,
    is_on: bool,
}

impl Power {
    /// Power that stays.
    pub fn steady() -> Self {
        Self(Arc::new(Mutex::new(Supply { left: None, used: 0, is_on: true })))
    }

    /// Power that fails at the write or sync after so many others.
    pub fn cut_after(changes: u64) -> Self {
        let power = Self::steady();
        power.supply().left = Some(changes);
        power
    }

    /// Lets it fail at the write or sync after so many others from now on.
    pub fn fail_after(&self, changes: u64) {
        self.supply().left = Some(changes);
    }

    /// Lets it stay, if it is still there.
    pub fn stay(&self) {
        self.supply().left = None;
    }

    /// Whether a cut is planned.
    pub fn is_failing(&self) -> bool {
        self.supply().left.is_some()
    }

    /// Cuts it now.
    pub fn cut(&self) {
        self.supply().is_on = false;
    }

    /// Whether it is still there.
    pub fn is_on(&self) -> bool {
        self.supply().is_on
    }

    /// How many writes and syncs there were.
    pub fn used(&self) -> u64 {
        self.supply().used
    }

    fn supply(&self) -> MutexGuard<'_, Supply> {
        self.0.lock().expect("no holder panics")
    }

    fn check(&self) -> io::Result<()> {
        if self.is_on() { Ok(()) } else { Err(io::Error::other("there is no power")) }
    }

    /// Uses power for a change. What happens at the cut happens in part, and nobody hears of it.
    fn change(&self) -> io::Result<bool> {
        let mut supply = self.supply();
        if !supply.is_on {
            return Err(io::Error::other("there is no power"));
        }
        supply.used += 1;
        match &mut supply.left {
            Some(0) => {
                supply.is_on = false;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }
}

/// How honest a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// What is synced is there after a cut.
    Keeps,
    /// It says so, and it is not.
    Lies,
}

/// A disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct Disk {
    power: Power,
    sync: Sync,
    content: Arc<Mutex<Content>>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    /// What is certain, by sector; a sector that is not here is zero.
    durable: Vec<u8>,
    /// What each sector held after each change since the last sync.
    versions: BTreeMap<usize, Vec<Sector>>,
    /// The lengths since the last sync.
    lengths: Vec<usize>,
}

impl Disk {
    /// An empty disk.
    pub fn new(power: &Power, sync: Sync) -> Self {
        Self { power: power.clone(), sync, content: Arc::default() }
    }

    /// What is found after a cut, on a disk with other power.
    #[must_use]
    pub fn after_cut(&self, power: &Power, random: &mut Random) -> Self {
        let content = self.content().after_cut(random);
        Self { power: power.clone(), sync: self.sync, content: Arc::new(Mutex::new(content)) }
    }

    /// What is there, on a disk with other power: the machine was stopped in good order.
    #[must_use]
    pub fn moved_to(&self, power: &Power) -> Self {
        let content = self.content().clone();
        Self { power: power.clone(), sync: self.sync, content: Arc::new(Mutex::new(content)) }
    }

    /// An empty disk as honest as this one.
    #[must_use]
    pub fn emptied(&self, power: &Power) -> Self {
        Self::new(power, self.sync)
    }

    /// Stands for what is there, synced or not.
    pub fn hash(&self) -> blake3::Hash {
        blake3::hash(&self.content().live)
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().expect("no holder panics")
    }
}

impl Content {
    fn resize(&mut self, length: usize) {
        let before = self.live.len();
        self.live.resize(length, 0);
        self.lengths.push(length);
        // What lies behind a shortened end is gone, also where the end moves out again.
        if length < before {
            self.note(length..before);
        }
    }

    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if end > self.live.len() {
            self.resize(end);
        }
        self.live[offset..end].copy_from_slice(data);
        self.note(offset..end);
    }

    /// Remembers what the sectors of a range hold now.
    fn note(&mut self, range: std::ops::Range<usize>) {
        for number in range.start / SECTOR..range.end.div_ceil(SECTOR) {
            let sector = sector_of(&self.live, number);
            self.versions.entry(number).or_default().push(sector);
        }
    }

    fn sync(&mut self) {
        for (number, versions) in std::mem::take(&mut self.versions) {
            if let Some(last) = versions.last() {
                put_sector(&mut self.durable, number, last);
            }
        }
        self.lengths.clear();
        self.durable.resize(self.live.len(), 0);
    }

    /// Keeps of every change what chance leaves: in some cuts nearly everything, in some nearly
    /// nothing.
    fn after_cut(&self, random: &mut Random) -> Self {
        let kept_of_ten = *random.pick(&[0, 1, 5, 5, 9, 10]);
        let mut found = self.durable.clone();
        let length = match self.lengths.len() {
            0 => self.durable.len(),
            _ if !random.chance(kept_of_ten, 10) => self.durable.len(),
            count => self.lengths[random.index(count)],
        };
        found.resize(found.len().max(self.live.len()), 0);
        for (number, versions) in &self.versions {
            if random.chance(kept_of_ten, 10) {
                // Mostly the last one: a disk seldom writes a sector twice in between.
                let last = versions.len() - 1;
                let version = if random.chance(1, 3) { random.index(last + 1) } else { last };
                put_sector(&mut found, *number, &versions[version]);
            }
        }
        found.resize(length, 0);
        Self { live: found.clone(), durable: found, ..Self::default() }
    }
}

fn sector_of(bytes: &[u8], number: usize) -> Sector {
    let mut sector = [0; SECTOR];
    let start = (number * SECTOR).min(bytes.len());
    let end = (start + SECTOR).min(bytes.len());
    sector[..end - start].copy_from_slice(&bytes[start..end]);
    sector
}

fn put_sector(bytes: &mut Vec<u8>, number: usize, sector: &Sector) {
    let end = (number + 1) * SECTOR;
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[end - SECTOR..end].copy_from_slice(sector);
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.power.check()?;
        Ok(self.content().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.power.check()?;
        let content = self.content();
        let start = place(offset)?;
        let there = start.checked_add(out.len()).and_then(|end| content.live.get(start..end));
        out.copy_from_slice(there.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let goes_on = self.power.change()?;
        self.content().resize(place(length)?);
        if goes_on { Ok(()) } else { Err(io::Error::other("the power went")) }
    }

    fn sync_data(&self) -> io::Result<()> {
        if !self.power.change()? {
            return Err(io::Error::other("the power went"));
        }
        if self.sync == Sync::Keeps {
            self.content().sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let goes_on = self.power.change()?;
        self.content().write(place(offset)?, data);
        if goes_on { Ok(()) } else { Err(io::Error::other("the power went")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(disk: &Disk, offset: u64) -> Vec<u8> {
        let mut out = vec![0; SECTOR];
        disk.read(offset, &mut out).expect("there is power");
        out
    }

    #[test]
    fn what_is_synced_stays_and_the_rest_may_go_sector_by_sector() {
        let mut random = Random::new(3);
        let (mut outcomes, mut lengths) = (std::collections::BTreeSet::new(), [0; 2]);
        for _ in 0..400 {
            let power = Power::steady();
            let disk = Disk::new(&power, Sync::Keeps);
            disk.set_len(3 * SECTOR as u64).expect("power");
            disk.write(0, &[1; 3 * SECTOR]).expect("power");
            disk.sync_data().expect("power");
            disk.write(SECTOR as u64, &[2; 2 * SECTOR]).expect("power");
            disk.write(SECTOR as u64, &[3; SECTOR]).expect("power");
            disk.set_len(4 * SECTOR as u64).expect("power");
            power.cut();
            assert!(disk.write(0, &[9]).is_err() && disk.len().is_err());
            let after = disk.after_cut(&Power::steady(), &mut random);
            assert_eq!(read(&after, 0), [1; SECTOR]);
            outcomes.insert((read(&after, SECTOR as u64)[9], read(&after, 2 * SECTOR as u64)[9]));
            lengths[usize::from(after.len().expect("power") > 3 * SECTOR as u64)] += 1;
        }
        let all = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2)];
        assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), all);
        assert!(lengths[0] > 50 && lengths[1] > 50);
    }

    #[test]
    fn a_disk_that_lies_keeps_nothing_for_certain() {
        let mut random = Random::new(5);
        let lost = (0..50).filter(|_| {
            let disk = Disk::new(&Power::steady(), Sync::Lies);
            disk.write(0, &[1; SECTOR]).expect("power");
            disk.sync_data().expect("power");
            let after = disk.after_cut(&Power::steady(), &mut random);
            after.len().expect("power") < SECTOR as u64 || read(&after, 0) != [1; SECTOR]
        });
        assert!(lost.count() > 10);
    }

    #[test]
    fn power_goes_after_so_many_changes() {
        let power = Power::cut_after(2);
        let disk = Disk::new(&power, Sync::Keeps);
        disk.write(0, &[1; 4]).expect("the first");
        disk.sync_data().expect("the second");
        disk.write(0, &[2; 4]).expect_err("the cut");
        assert!(!power.is_on() && disk.sync_data().is_err());
        assert_eq!(power.used(), 3);
    }
}
