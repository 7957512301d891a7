//! What the shop that does not exist sells: invented brands, usual things.

/// A kind of thing.
pub(super) struct Category {
    /// As the catalog names it.
    pub(super) name: &'static str,
    /// At the beginning of its SKUs.
    pub(super) code: &'static str,
    pub(super) nouns: &'static [&'static str],
    /// The sizes that each colour comes in; one empty one where there are none.
    pub(super) sizes: &'static [&'static str],
    /// How many styles of it there are, relative to the others.
    pub(super) weight: usize,
}

const LETTERS: &[&str] = &["XS", "S", "M", "L", "XL", "XXL"];
const WAISTS: &[&str] = &["28/32", "30/32", "32/32", "32/34", "34/34", "36/34"];
const SHOES: &[&str] = &["36", "37", "38", "39", "40", "41", "42", "43", "44", "45"];
const LITRES: &[&str] = &["18 L", "24 L", "32 L"];
const NONE: &[&str] = &[""];

pub(super) fn categories() -> [Category; 12] {
    let category = |name, code, nouns, sizes, weight| Category { name, code, nouns, sizes, weight };
    [
        category("T-shirts", "TSH", &["Tee", "Long Sleeve Tee", "Pocket Tee", "Tank Top"], LETTERS, 16),
        category("Shirts", "SHI", &["Oxford Shirt", "Overshirt", "Flannel Shirt", "Linen Shirt"], LETTERS, 10),
        category("Knitwear", "KNI", &["Crew Jumper", "Cardigan", "Roll Neck", "Vest"], LETTERS, 8),
        category("Jackets", "JAC", &["Rain Jacket", "Parka", "Bomber", "Down Jacket", "Windbreaker"], LETTERS, 7),
        category("Trousers", "TRO", &["Chinos", "Jeans", "Cargo Trousers", "Cords"], WAISTS, 9),
        category("Sneakers", "SNK", &["Court Sneaker", "Runner", "High Top", "Trail Shoe"], SHOES, 12),
        category("Boots", "BOO", &["Chelsea Boot", "Hiking Boot", "Lace-up Boot"], SHOES, 6),
        category("Bags", "BAG", &["Backpack", "Daypack", "Roll-top Pack"], LITRES, 8),
        category("Accessories", "ACC", &["Beanie", "Scarf", "Belt", "Cap", "Gloves", "Wallet"], NONE, 14),
        category("Home", "HOM", &["Table Lamp", "Throw", "Cushion", "Mug", "Vase", "Candle", "Tray"], NONE, 16),
        category("Chairs", "CHA", &["Desk Chair", "Lounge Chair", "Stool", "Dining Chair"], NONE, 6),
        category("Audio", "AUD", &["Headphones", "Earbuds", "Speaker", "Turntable"], NONE, 6),
    ]
}

pub(super) const BRANDS: &[&str] = &[
    "Nordhavn",
    "Lumen & Oak",
    "Pilgrove",
    "Tarn",
    "Kestrel Works",
    "Osterby",
    "Fjellhus",
    "Marrow Lane",
    "Quillon",
    "Brackwater",
    "Saltmarsh",
    "Vinterhed",
    "Copperfen",
    "Halden Row",
    "Astermoor",
    "Ferrowick",
    "Linden Yard",
    "Orrin",
    "Tidewell",
    "Yarrowby",
];

pub(super) const STYLES: &[&str] = &[
    "Classic", "Everyday", "Relaxed", "Slim", "Heritage", "Studio", "Harbour", "Trail", "Commuter", "Weekend", "Field",
    "Alpine", "Coastal", "Atelier", "Dock", "Meadow", "North", "Signal", "Drift", "Vista", "Ember", "Grove", "Anchor",
    "Cinder", "Pioneer", "Skyline", "Solstice", "Ridge",
];

pub(super) const MATERIALS: &[&str] = &[
    "Cotton",
    "Organic Cotton",
    "Merino",
    "Recycled",
    "Linen",
    "Canvas",
    "Waxed",
    "Leather",
    "Suede",
    "Wool",
    "Oak",
    "Steel",
    "Felt",
    "Bamboo",
];

/// Colours, and how SKUs shorten them.
pub(super) const COLOURS: &[(&str, &str)] = &[
    ("Black", "BLK"),
    ("White", "WHT"),
    ("Navy", "NVY"),
    ("Charcoal", "CHC"),
    ("Sand", "SND"),
    ("Olive", "OLV"),
    ("Rust", "RST"),
    ("Sky Blue", "SKY"),
    ("Burgundy", "BUR"),
    ("Forest", "FOR"),
    ("Cream", "CRM"),
    ("Mustard", "MUS"),
    ("Slate", "SLT"),
    ("Blush", "BLS"),
    ("Stone", "STN"),
    ("Teal", "TEA"),
    ("Cobalt", "COB"),
    ("Walnut", "WAL"),
];
