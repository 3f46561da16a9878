//! The kinds of facts. Numbers are signed for ever: none is ever changed or used again.

use std::fmt;

/// The number of a kind, known or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindNo(pub u16);

macro_rules! kinds {
    ($($(#[$doc:meta])* $number:literal $name:ident $text:literal;)*) => {
        /// A kind of fact that this version knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind {
            $($(#[$doc])* $name = $number,)*
        }

        impl Kind {
            /// Every known kind, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The kind with this number, if known.
            pub const fn from_number(number: KindNo) -> Option<Self> {
                match number.0 {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The word that command line, API and reports use.
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

kinds! {
    /// Goods from a supplier.
    1 Receipt "receipt";
    /// Goods sold and handed over.
    2 SaleIssue "sale_issue";
    /// Goods taken for own use or a project.
    3 Issue "issue";
    /// Goods a customer brings back.
    4 CustomerReturn "customer_return";
    /// Goods sent back to the supplier.
    5 SupplierReturn "supplier_return";
    /// Goods on their way to another site.
    6 TransferShip "transfer_ship";
    /// Goods arrived from another site.
    7 TransferReceive "transfer_receive";
    /// What is on hand at a time, counted.
    8 Count "count";
    /// A signed correction of the quantity on hand.
    9 Adjustment "adjustment";
    /// Goods thrown away.
    10 Scrap "scrap";
    /// Goods made.
    11 ProductionIn "production_in";
    /// Materials used up in making goods.
    12 ProductionOut "production_out";
    /// Goods that become other goods.
    13 RepackOut "repack_out";
    /// The goods they became; shares a group with what went out.
    14 RepackIn "repack_in";
    /// A sale that moves no stock.
    15 ServiceSale "service_sale";
    /// An earlier fact did not happen.
    16 Reversal "reversal";
    /// Goods held or released.
    17 StatusChange "status_change";

    /// Places a fact whose time was in doubt.
    32 Retime "retime";
    /// A site proposes an item, a partner or a barcode.
    33 Proposal "proposal";

    /// Ordered from a supplier.
    64 PurchaseOrder "purchase_order";
    /// Ordered by a customer.
    65 SalesOrder "sales_order";
    /// One line of a supplier's invoice.
    66 SupplierInvoice "supplier_invoice";
    /// One line of an invoice to a customer, for a shipment marked invoice-later.
    67 CustomerInvoice "customer_invoice";
    /// One line of a credit note: a supplier's for a receipt.
    68 CreditNote "credit_note";
    /// Money in or out.
    69 Payment "payment";
    /// A payment settles an open item, by the amount stated.
    70 Allocation "allocation";
    /// Freight and other cost that belongs to receipts.
    71 LandedCost "landed_cost";
    /// An amount added to the value of a pool.
    72 Revaluation "revaluation";
    /// Write-down to market.
    73 WriteDown "write_down";
    /// A new standard cost.
    74 StandardCost "standard_cost";
    /// One line of a voucher entered by hand.
    75 HandVoucher "hand_voucher";
    /// One line of the balances an installation starts with.
    76 OpeningBalance "opening_balance";
    /// A person agrees to something that changes money.
    77 Approval "approval";
    /// A period is opened or closed.
    78 PeriodAction "period_action";
    /// Two captures were one event.
    79 SameAs "same_as";
    /// A capture of a forked log did not happen.
    80 Void "void";
    /// A supplier grants a discount for early payment of a bill.
    81 CashDiscount "cash_discount";

    /// A company, its currency, zone and cost scope.
    128 Company "company";
    /// A warehouse of a company.
    129 Site "site";
    /// An item: code, base unit, decimals, category.
    130 Item "item";
    /// Another unit of an item, as a fraction of base units.
    131 UnitConversion "unit_conversion";
    /// A customer or supplier.
    132 Partner "partner";
    /// Why adjustments, issues and scraps happen.
    133 Reason "reason";
    /// Somebody who records.
    134 Person "person";
    /// A ledger account.
    135 Account "account";
    /// Which account takes a role for a category, site, movement kind and reason.
    136 Mapping "mapping";
    /// An item category.
    137 Category "category";
    /// A policy of a company or site.
    138 Policy "policy";
    /// An exchange rate.
    139 Rate "rate";
    /// A price list entry.
    140 PriceEntry "price_entry";
    /// A tax code and its rate.
    141 TaxCode "tax_code";
    /// The books follow another version of the rules from here on.
    142 Rules "rules";
    /// A log belongs to a site and device and signs with this key.
    143 SiteLog "site_log";
    /// A barcode of an item.
    144 Barcode "barcode";
    /// How the goods of a company, or of one category in it, are costed.
    145 Costing "costing";
    /// What one base unit of an item weighs and takes up.
    146 ItemMeasure "item_measure";
    /// A site may carry another one's data to HQ.
    147 Carrier "carrier";
    /// HQ was restored from a backup: what it had stated later is lost.
    148 Restored "restored";
    /// Voucher numbers that a lost history of HQ gave are not given again.
    149 VoucherGap "voucher_gap";
    /// A person has compared a branch with the log that it leaves.
    150 Ruling "ruling";
    /// An item that a site is told of.
    151 HandledItem "handled_item";

    /// Keyed state only, never in a log: a transfer on its way to a site.
    192 OpenTransfer "open_transfer";
    /// Keyed state only, never in a log: an order that a site may work on.
    193 OpenOrder "open_order";
}

impl Kind {
    /// The kind's number.
    pub const fn number(self) -> KindNo {
        KindNo(self as u16)
    }

    /// The kind with this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.word() == word)
    }

    /// What a keeper records at a site.
    pub const fn is_movement(self) -> bool {
        (self as u16) < 32
    }

    /// What HQ states about its things.
    pub const fn is_master_data(self) -> bool {
        (self as u16) >= 128 && (self as u16) < 192
    }
}

impl From<Kind> for KindNo {
    fn from(kind: Kind) -> Self {
        kind.number()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
