"""Classes of `fontawesome`: solid glyphs with one clear category, each listed once.

Font Awesome files half of its icons under several categories. The rule here: the glyph depicts the class itself.
Glyphs with a badge (`-circle-check`, `-lock`, `-slash`) are left out, and so are brands, letters, digits, currency
signs, and anything that fits two classes. Every name was then reviewed by hand.

Drawings are separated by semicolons; glyphs that vary one drawing are listed together, and stay in one split. Most
classes have 24 glyphs or more; "animal", "clothing or accessory", "religious symbol" and "security item" have all that
exist.
"""

GLYPHS: dict[str, str] = {
    "animal": """
        cat; cow; crow; dog; dove; dragon; fish fish-fins; frog; hippo; horse horse-head; kiwi-bird; locust;
        mosquito; otter; shrimp; spider; worm; bug bugs; democrat; republican
    """,
    "food or drink": """
        apple-whole; bacon; bowl-food bowl-rice; bread-slice; burger; cake-candles; candy-cane; carrot;
        cheese; cookie cookie-bite; drumstick-bite; egg; hotdog; ice-cream; lemon; pepper-hot; pizza-slice;
        plate-wheat; stroopwafel; wheat-awn; jar-wheat; beer-mug-empty; bottle-water bottle-droplet;
        champagne-glasses; glass-water glass-water-droplet;
        martini-glass martini-glass-citrus martini-glass-empty; mug-hot; mug-saucer; whiskey-glass;
        wine-bottle; wine-glass wine-glass-empty
    """,
    "vehicle": """
        bicycle; bus bus-simple; cable-car; car car-on car-burst; car-side; car-rear; caravan; motorcycle;
        taxi; tractor; trailer; train train-subway; train-tram; truck truck-fast; truck-field; truck-front;
        truck-medical; truck-monster; truck-moving; truck-pickup; van-shuttle; snowplow; sleigh;
        baby-carriage; wheelchair wheelchair-move; plane plane-up; plane-arrival plane-departure;
        helicopter; jet-fighter jet-fighter-up; rocket; shuttle-space; ferry; ship; sailboat
    """,
    "building": """
        archway; building; building-columns landmark; building-ngo building-un; building-wheat; church;
        city; dungeon; gopuram; hospital; hotel; house house-chimney house-chimney-window; house-medical;
        house-crack; igloo; industry; kaaba; landmark-dome; landmark-flag; monument; mosque; oil-well;
        place-of-worship; school; shop store; synagogue; tent tents; campground; torii-gate;
        tower-observation; vihara; warehouse; bridge; bridge-water
    """,
    "person": """
        person person-dress person-half-dress; child child-dress; child-reaching; baby; children;
        people-group; people-pulling; people-robbery; people-carry-box; people-line; people-roof;
        person-walking; person-running; person-hiking; person-skiing person-skiing-nordic;
        person-snowboarding; person-skating; person-biking; person-swimming; person-drowning;
        person-falling; person-digging; person-cane person-walking-with-cane; person-praying;
        person-pregnant; person-breastfeeding; person-chalkboard chalkboard-user;
        person-rifle person-military-rifle; person-walking-luggage; person-rays; person-booth;
        user user-large; user-group users; user-astronaut; user-doctor; user-graduate; user-injured;
        user-ninja; user-nurse; user-secret; user-tie
    """,
    "face": """
        face-angry; face-dizzy; face-flushed; face-frown; face-frown-open; face-grimace; face-grin;
        face-grin-beam; face-grin-beam-sweat; face-grin-hearts; face-grin-squint; face-grin-squint-tears;
        face-grin-stars; face-grin-tears; face-grin-tongue; face-grin-tongue-squint; face-grin-tongue-wink;
        face-grin-wide; face-grin-wink; face-kiss; face-kiss-beam; face-kiss-wink-heart; face-laugh;
        face-laugh-beam; face-laugh-squint; face-laugh-wink; face-meh; face-meh-blank; face-rolling-eyes;
        face-sad-cry; face-sad-tear; face-smile; face-smile-beam; face-smile-wink; face-surprise; face-tired
    """,
    "hand": """
        hand; hand-back-fist; hand-dots; hand-fist; hand-holding hand-holding-dollar hand-holding-droplet
        hand-holding-hand hand-holding-heart hand-holding-medical; hand-lizard; hand-middle-finger;
        hand-peace; hand-point-down hand-point-left hand-point-right hand-point-up; hand-pointer;
        hand-scissors; hand-sparkles; hand-spock; hands; hands-asl-interpreting; hands-bound; hands-bubbles;
        hands-clapping; hands-holding hands-holding-child hands-holding-circle; hands-praying; handshake
        handshake-simple; handshake-angle; thumbs-down thumbs-up
    """,
    "arrow or media button": """
        arrow-down arrow-down-long down-long arrow-left arrow-right arrow-up arrow-left-long
        arrow-right-long arrow-up-long left-long right-long up-long; angle-down chevron-down angle-left
        angle-right angle-up chevron-left chevron-right chevron-up; angles-down angles-left angles-right
        angles-up; caret-down caret-left caret-right caret-up; circle-arrow-down circle-down
        circle-arrow-left circle-arrow-right circle-arrow-up circle-left circle-right circle-up; turn-down
        arrow-turn-down turn-up arrow-turn-up; arrow-rotate-left rotate-left arrow-rotate-right
        rotate-right; rotate arrows-rotate; arrows-left-right left-right arrows-up-down up-down;
        arrows-up-down-left-right up-down-left-right; right-left arrow-right-arrow-left; reply share
        reply-all; retweet; repeat; shuffle; arrow-trend-down arrow-trend-up; arrows-to-circle
        arrows-to-dot; arrows-split-up-and-left; arrows-turn-right; backward forward; backward-fast
        forward-fast; backward-step forward-step; play; pause; stop; eject; circle-play; circle-pause;
        circle-stop
    """,
    "weather or nature": """
        bolt bolt-lightning; cloud; cloud-bolt; cloud-moon; cloud-moon-rain;
        cloud-rain cloud-showers-heavy cloud-showers-water; cloud-sun; cloud-sun-rain; hurricane; icicles;
        moon; rainbow; smog; snowflake; sun; tornado; wind; meteor; clover; leaf; seedling; tree;
        mountain mountain-sun; volcano; mound; water; fire fire-flame-curved fire-flame-simple;
        hill-avalanche hill-rockslide; plant-wilt; holly-berry; cannabis; spa
    """,
    "medical or scientific item": """
        bandage; book-medical; briefcase-medical suitcase-medical kit-medical; capsules; crutch; dna; lungs;
        microscope; mortar-pestle; notes-medical; pills tablets;
        prescription-bottle prescription-bottle-medical; pump-medical; staff-snake; star-of-life;
        stethoscope; syringe; teeth teeth-open; thermometer; tooth; vial vials; flask; flask-vial;
        virus virus-covid viruses; bacteria bacterium; disease; x-ray; mask-face; brain; heart-pulse; atom
    """,
    "music or film": """
        drum; drum-steelpan; guitar; headphones headphones-simple; microphone microphone-lines; music;
        radio; record-vinyl; compact-disc; volume-high volume-low volume-off; bullhorn; bell; podcast;
        camera camera-retro; clapperboard; film; photo-film; video; image images; panorama; masks-theater;
        sliders
    """,
    "electronic device": """
        computer; computer-mouse; desktop display tv; fax; floppy-disk; gamepad; hard-drive; keyboard;
        laptop; memory; microchip;
        mobile mobile-screen tablet mobile-button mobile-screen-button tablet-button tablet-screen-button;
        mobile-retro; pager; phone phone-flip; phone-volume; plug; print; satellite-dish; sd-card; server;
        sim-card; tower-cell; tower-broadcast; walkie-talkie; calculator; ethernet;
        battery-empty battery-full battery-half; vr-cardboard
    """,
    "file or document": """
        file; file-audio; file-video; file-code; file-contract; file-signature; file-csv; file-excel;
        file-image; file-invoice file-invoice-dollar; file-lines; file-medical file-waveform; file-pdf;
        file-pen; file-powerpoint; file-prescription; file-shield; file-word; file-zipper;
        file-arrow-down file-arrow-up; file-export file-import; folder folder-closed; folder-open;
        folder-tree; clipboard; clipboard-list; clipboard-check; clipboard-question; note-sticky; newspaper;
        scroll; book; book-open; copy; paste
    """,
    "chart or diagram": """
        chart-area; chart-bar; chart-column; chart-gantt; chart-line; chart-pie; chart-simple;
        diagram-next diagram-predecessor diagram-successor; diagram-project;
        square-poll-horizontal square-poll-vertical; bars-progress; bars-staggered; sitemap; timeline;
        circle-nodes; network-wired; table; table-cells table-cells-large; table-columns; table-list;
        ranking-star; code-branch; code-commit; code-compare; code-fork; code-merge; code-pull-request
    """,
    "text formatting symbol": """
        align-center align-justify align-left align-right; bold; border-all; border-none; border-top-left;
        font; heading; i-cursor; indent outdent; italic; list; list-check; list-ol; list-ul; paragraph;
        strikethrough; subscript superscript; text-height; text-width; text-slash; underline; spell-check
    """,
    "tool or office supply": """
        hammer; wrench; screwdriver; screwdriver-wrench; toolbox; trowel; trowel-bricks; brush;
        paint-roller; paintbrush; ruler ruler-horizontal ruler-vertical; ruler-combined; pen-ruler;
        compass-drafting; scissors; pencil; pen pen-clip; pen-fancy pen-nib; marker; highlighter; eraser;
        stapler; paperclip; thumbtack; stamp; spray-can; fill-drip; eye-dropper; swatchbook; palette;
        magnet; gear gears; tape
    """,
    "household item": """
        bath; bed; blender; box-tissue; broom; bucket; chair; couch; door-closed; door-open; fan;
        faucet faucet-drip; fire-extinguisher; jar; jug-detergent; kitchen-set; lightbulb; mattress-pillow;
        pump-soap; rug; shower; sink; soap; spoon; stairs; toilet; toilet-paper; trash trash-can; utensils;
        clock; hourglass hourglass-half
    """,
    "clothing or accessory": """
        glasses; graduation-cap; hat-cowboy hat-cowboy-side; hat-wizard; mitten; shirt; socks;
        vest vest-patches; helmet-safety; helmet-un; crown; ring; mask; suitcase; suitcase-rolling;
        briefcase; umbrella; gem
    """,
    "money or shopping": """
        coins; credit-card; money-bill money-bill-wave money-bills money-bill-1 money-bill-1-wave;
        money-bill-trend-up; money-bill-transfer; money-bill-wheat; money-check money-check-dollar;
        piggy-bank; receipt; sack-dollar; cash-register; wallet; cart-shopping cart-arrow-down cart-plus;
        basket-shopping; bag-shopping; barcode; tag tags; gift gifts; circle-dollar-to-slot
    """,
    "sport or game": """
        baseball; baseball-bat-ball; basketball; bowling-ball; dumbbell; football; futbol; golf-ball-tee;
        hockey-puck; table-tennis-paddle-ball; volleyball; broom-ball; weight-hanging; medal; trophy; award;
        flag-checkered; chess; chess-bishop; chess-board; chess-king; chess-knight; chess-pawn; chess-queen;
        chess-rook; dice; dice-d20; dice-d6; dice-one dice-two dice-three dice-four dice-five dice-six;
        puzzle-piece
    """,
    "religious symbol": """
        ankh; bahai; book-bible book-quran book-tanakh; book-journal-whills; cross; dharmachakra; hamsa;
        hanukiah; jedi; khanda; menorah; om; peace; scroll-torah; spaghetti-monster-flying;
        star-and-crescent; star-of-david; yin-yang
    """,
    "mathematical or punctuation mark": """
        divide; equals; greater-than less-than; greater-than-equal less-than-equal; infinity; minus;
        not-equal; percent; plus; plus-minus; square-root-variable; xmark; asterisk; hashtag; at;
        exclamation; question; quote-left quote-right; section; ellipsis ellipsis-vertical; slash; check;
        check-double
    """,
    "security item": """
        lock unlock lock-open unlock-keyhole; key; shield shield-halved; shield-heart; shield-virus;
        shield-cat; shield-dog; handcuffs; fingerprint; gun; bomb; vault; passport; id-badge; id-card;
        id-card-clip; land-mine-on; road-spikes
    """,
}
