#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;

use parking_lot::Mutex;
use weir_model::OrgName;
use weir_policy::{VerifyingKey, verify};

use super::*;

/// A data plane that only verifies, and notes what it was told.
struct Plane {
    key: VerifyingKey,
    now: Mutex<i64>,
    held: Mutex<Option<(u64, i64)>>,
    told: Mutex<Vec<String>>,
}

impl Recipient for Plane {
    fn offer(&self, org: &OrgName, jws: &str) -> Result<u64, String> {
        let now = *self.now.lock();
        let version = self.held.lock().map(|held| held.0);
        let policy = verify(jws, &self.key, org, now, version).map_err(|error| error.to_string())?;
        *self.held.lock() = Some((policy.body().version, policy.body().not_after));
        self.told.lock().push(format!("offer {org} {}", policy.body().version));
        Ok(policy.body().version)
    }

    fn confirm(&self, org: &OrgName) {
        self.told.lock().push(format!("confirm {org}"));
    }

    fn rejected(&self, org: Option<&OrgName>, why: &str) {
        let org = org.map_or("-", OrgName::as_str);
        self.told.lock().push(format!("rejected {org} {}", why.lines().next().unwrap()));
    }
}

struct House {
    folder: tempfile::TempDir,
    control: Control,
    plane: Plane,
}

impl House {
    fn new() -> House {
        let folder = tempfile::tempdir().unwrap();
        let key = load_or_make_key(folder.path()).unwrap();
        let plane = Plane {
            key: key.verifying_key(),
            now: Mutex::new(1_000_000),
            held: Mutex::new(None),
            told: Mutex::new(Vec::new()),
        };
        let control = Control::open(folder.path(), &folder.path().join("policies"), key).unwrap();
        House { folder, control, plane }
    }

    fn write(&self, place: &str, policy: &str) {
        let folder = self.folder.path().join("policies").join(place);
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in [("policy.toml", policy), ("access.cedar", ""), ("row_filters.sql", "")] {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    fn look(&mut self) -> Vec<String> {
        let now = *self.plane.now.lock();
        self.control.look(&self.plane, now);
        let base = format!("{}/", self.folder.path().display());
        self.plane.told.lock().drain(..).map(|text| text.replace(&base, "")).collect()
    }
}

#[test]
fn a_change_is_offered_once_and_then_confirmed() {
    let mut house = House::new();
    house.write("", "org = \"acme\"\n");
    assert_eq!(house.look(), ["offer acme 1"]);
    assert_eq!(house.look(), ["confirm acme"]);
    house.write("", "org = \"acme\"\nstatus = \"suspended\"\n");
    assert_eq!(house.look(), ["offer acme 2"]);
    house.write("", "org = \"acme\"\nstatus = \"suspended\"\n");
    assert_eq!(house.look(), ["confirm acme"]);
}

#[test]
fn a_broken_change_is_named_and_the_old_policy_stays() {
    let mut house = House::new();
    house.write("acme", "org = \"acme\"\n");
    house.look();
    house.write("acme", "org = \"acme\"\nstatus = \"asleep\"\n");
    let told = house.look();
    assert!(told[0].starts_with("rejected acme policies/acme/policy.toml:2:"), "{told:?}");
    assert_eq!(told[1], "confirm acme");
    assert_eq!(house.look(), ["confirm acme"], "told once");
    let report = &house.control.report()[0];
    assert_eq!(report.serving.as_ref().unwrap().1, 1);
    assert!(report.to_string().contains("what stands there now is refused:\n"), "{report}");
    house.write("acme", "org = \"acme\"\n");
    assert_eq!(house.look(), ["offer acme 1"]);
    assert!(house.control.report()[0].problems.is_empty());
}

#[test]
fn each_folder_is_an_org_and_no_org_has_two() {
    let mut house = House::new();
    house.write("a", "org = \"acme\"\n");
    house.write("b", "org = \"globex\"\n");
    assert_eq!(house.look(), ["offer acme 1", "offer globex 1"]);
    house.write("c", "org = \"acme\"\n");
    let told = house.look();
    assert!(told.iter().any(|text| text.contains("org `acme` has its policy in")), "{told:?}");
}

#[test]
fn a_policy_that_is_gone_is_no_longer_confirmed() {
    let mut house = House::new();
    house.write("", "org = \"acme\"\n");
    house.look();
    fs::remove_dir_all(house.folder.path().join("policies")).unwrap();
    assert!(house.look().iter().all(|text| text.starts_with("rejected -")));
    assert_eq!(house.look(), [""; 0]);
}

#[test]
fn versions_never_go_back_and_survive_a_restart() {
    let mut house = House::new();
    house.write("", "org = \"acme\"\n");
    house.look();
    house.write("", "org = \"acme\"\ntier = \"growth\"\n");
    assert_eq!(house.look(), ["offer acme 2"]);
    let restarted = |house: &mut House| {
        let root = house.folder.path().join("policies");
        let key = load_or_make_key(house.folder.path()).unwrap();
        house.control = Control::open(house.folder.path(), &root, key).unwrap();
    };
    restarted(&mut house);
    assert_eq!(house.look(), ["offer acme 2"], "the same content is the same version");
    restarted(&mut house);
    house.write("", "org = \"acme\"\n");
    assert_eq!(house.look(), ["offer acme 3"]);
}

#[test]
fn a_bundle_is_renewed_before_it_ends() {
    let mut house = House::new();
    house.write("", "org = \"acme\"\n");
    house.look();
    let first = house.plane.held.lock().unwrap().1;
    *house.plane.now.lock() += 13 * 3600;
    assert_eq!(house.look(), ["offer acme 1"]);
    assert!(house.plane.held.lock().unwrap().1 > first);
}

#[test]
fn keys_are_made_once_and_must_be_private() {
    let folder = tempfile::tempdir().unwrap();
    let key = load_or_make_key(folder.path()).unwrap();
    assert_eq!(load_or_make_key(folder.path()).unwrap().fingerprint(), key.fingerprint());
    let (acme, globex) = (OrgName::new("acme").unwrap(), OrgName::new("globex").unwrap());
    assert_eq!(mask_key(folder.path(), &acme).unwrap(), mask_key(folder.path(), &acme).unwrap());
    assert_ne!(mask_key(folder.path(), &acme).unwrap(), mask_key(folder.path(), &globex).unwrap());
    let path = folder.path().join("keys/bundle.ed25519");
    let open: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(&path, open).unwrap();
    assert!(load_or_make_key(folder.path()).is_err());
}

#[test]
fn the_starter_policy_compiles_and_passes_its_own_examples() {
    let folder = tempfile::tempdir().unwrap();
    lay_out(folder.path()).unwrap();
    let report = weir_policy::test(&folder.path().join(STARTER_ORG)).unwrap();
    assert!(report.succeeded() && report.passed > 0, "{report}");
}
