//! Made-up shared documents, in memory: a transfer whose two sides disagree, a count sheet, notes, and a
//! change that was refused.

use ed25519_dalek::SigningKey;
use hq_server::gateway::documents::{Documents, Sender};
use redb::backends::InMemoryBackend;
use shared::document::{Actor, DocumentId, DocumentKey, Replica};
use shared::ids::{Capture, ChangeHash, DeviceNo, HistoryId, LogId, SiteNo};
use shared::sync::DocumentChange;
use shared::time::Timestamp;

fn sender(site: u32) -> Sender {
    let log = [u8::try_from(site).expect("few sites"); 32];
    Sender { site: SiteNo(site), device: DeviceNo(site + 1), log: LogId(log) }
}

/// What a site's people put who see what `replica` has.
fn put(mut replica: Replica, site: u32, at: Timestamp, puts: &[(&str, &str)]) -> DocumentChange {
    let Sender { site, device, log } = sender(site);
    let puts: Vec<_> = puts.iter().map(|(key, text)| (*key, (*text).to_owned())).collect();
    let change = replica.edit(Actor::of(site, device, &log), at.0 / 1_000, &puts);
    let change = change.expect("short texts at known keys");
    let (key, hash) = (replica.key(), change.hash);
    DocumentChange { key, hash, bytes: change.bytes().to_vec() }
}

/// The documents, as HQ has decided on them.
pub(crate) fn shared_documents(now: Timestamp) -> Documents {
    let key = SigningKey::from_bytes(&[1; 32]);
    let documents = Documents::with_backend(InMemoryBackend::new(), &HistoryId([2; 32]), key);
    let documents = documents.expect("an empty file opens");
    let take = |site: u32, change: DocumentChange| {
        let site_of = |device: DeviceNo| Some(SiteNo(device.0 - 1));
        let waits = documents.take(&sender(site), vec![change], now, site_of);
        assert_eq!(waits.expect("there is room"), [], "nothing waits");
    };
    let begin = |id| Replica::begin(DocumentKey::first(id));
    let capture = |device, counter| Capture { device: DeviceNo(device), counter };
    let transfer = DocumentId::Transfer { from: SiteNo(1), to: SiteNo(2), ship: capture(2, 1_042) };
    let shipped = [("line/2-1042", "40\nEA\n1"), ("expected", "11-26"), ("carrier", "顺达物流")];
    take(1, put(begin(transfer), 1, now, &shipped));
    // Neither has heard of the other's remark.
    let seen = || documents.get(transfer).expect("is there").replica;
    let remarks = [(1, "箱 3 受潮，请先验"), (2, "收货口今天关闭，明早再送")];
    let remarks = remarks.map(|(site, text)| (site, put(seen(), site, now, &[("remark", text)])));
    for (site, remark) in remarks {
        take(site, remark);
    }
    let sheet = DocumentId::CountSheet { site: SiteNo(3), sheet: capture(4, 1) };
    take(
        3,
        put(
            begin(sheet),
            3,
            now,
            &[("title", "A 区年终盘点"), ("count/王/7", "118"), ("count/李/7", "121")],
        ),
    );
    // HQ and the site, neither of whom has heard of the other's.
    let seen = documents.get(sheet).expect("is there").replica;
    let remark = put(seen, 3, now, &[("remark", "B 架下层未点")]);
    let from_hq = [("remark", "请于周五前交表".to_owned())];
    documents.edit(sheet, &sender(0), now, &from_hq).expect("HQ may write");
    take(3, remark);
    let notes = DocumentId::SiteNotes { site: SiteNo(4) };
    // Somebody's clock says anything.
    let far = Timestamp(1 << 60);
    take(4, put(begin(notes), 4, far, &[("topic/叉车", "左前轮周五更换")]));
    let key = DocumentKey::first(notes);
    let refused =
        DocumentChange { key, hash: ChangeHash([9; 32]), bytes: b"not a change".to_vec() };
    take(4, refused);
    documents
}
