//! The choices that policies of a company offer. Their numbers are signed for ever; the first of each
//! holds where a company states nothing.

use super::PolicyKind;

coded! {
    /// Who bears an exchange rate that moves between a receipt and its invoice.
    ReceiptFx {
        /// The exchange difference account: goods cost what they did on the day they came (IAS 21).
        1 Exchange "exchange";
        /// The goods: they cost what the invoice says on its own day.
        2 Cost "cost";
    }
}

coded! {
    /// What becomes of standard cost variances at the end of a month.
    StandardVariance {
        /// They are results of their month.
        1 Expense "expense";
        /// 材料成本差异: shared between what left and what is there.
        2 Allocate "allocate";
    }
}

coded! {
    /// Where value goes that became known after the month of its goods was closed.
    LateCost {
        /// With its goods, posted in the first open month.
        1 Trace "trace";
        /// Into the pool at the beginning of the first open month.
        2 Forward "forward";
    }
}

coded! {
    /// Whether something may be done.
    Permission {
        /// It may.
        1 Allowed "allowed";
        /// It may not.
        2 Barred "barred";
    }
}

coded! {
    /// Who says when something happened whose time is in doubt.
    DoubtfulTime {
        /// HQ, where it knows the time to within a day of one month; else a person.
        1 WithinDay "within_day";
        /// A person, always.
        2 ByHand "by_hand";
    }
}

coded! {
    /// Whose a discount is that a supplier grants for early payment. Its numbers stand in the facts
    /// too: each says what was chosen when it was granted.
    PurchaseCashDiscount {
        /// The goods': they cost less (IAS 2.11).
        1 Cost "cost";
        /// Finance income (企业会计准则讲解: 总价法).
        2 Finance "finance";
    }
}

impl PolicyKind {
    /// The words of a policy that a company chooses among, numbered from 1; none for those of sites,
    /// whose settings are figures.
    pub fn choices(self) -> Vec<&'static str> {
        match self {
            Self::BackdatingDays
            | Self::NegativeStock
            | Self::ImportBackdatingDays
            | Self::HandledOnly => Vec::new(),
            Self::ReceiptFx => ReceiptFx::ALL.iter().map(|each| each.word()).collect(),
            Self::StandardVariance => {
                StandardVariance::ALL.iter().map(|each| each.word()).collect()
            }
            Self::LateCost => LateCost::ALL.iter().map(|each| each.word()).collect(),
            Self::DoubtfulTime => DoubtfulTime::ALL.iter().map(|each| each.word()).collect(),
            Self::PurchaseCashDiscount => {
                PurchaseCashDiscount::ALL.iter().map(|each| each.word()).collect()
            }
            Self::Lifo | Self::WriteDownReversal => {
                Permission::ALL.iter().map(|each| each.word()).collect()
            }
        }
    }

    /// Whether a company chooses, and not a site.
    pub const fn is_of_company(self) -> bool {
        !matches!(
            self,
            Self::BackdatingDays
                | Self::NegativeStock
                | Self::ImportBackdatingDays
                | Self::HandledOnly
        )
    }

    /// The setting with this word.
    pub fn setting_of(self, word: &str) -> Option<i64> {
        (1..).zip(self.choices()).find(|(_, choice)| *choice == word).map(|(number, _)| number)
    }

    /// The word of a setting.
    pub fn word_of(self, setting: i64) -> Option<&'static str> {
        (1..).zip(self.choices()).find(|(number, _)| *number == setting).map(|(_, word)| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_chooses_among_words_and_a_site_states_figures() {
        for policy in PolicyKind::ALL {
            assert_eq!(policy.choices().is_empty(), !policy.is_of_company(), "{policy:?}");
            for word in policy.choices() {
                let setting = policy.setting_of(word).expect("a choice has a number");
                assert_eq!(policy.word_of(setting), Some(word));
            }
        }
        assert_eq!(PolicyKind::ReceiptFx.setting_of("cost"), Some(ReceiptFx::Cost as i64));
        assert_eq!(PolicyKind::Lifo.setting_of("barred"), Some(Permission::Barred as i64));
    }
}
