"""Classes of `pictobench` and their drawings, reviewed by hand.

A class is one thing with the name that a person would type. Within a dataset no name means another's kind ("fruit" and
"apple", "car" and "police car"), no two mean the same, and no two look alike once they are turned or recolored: lime
and lemon, mouse and rat, play and reverse. Names use words of Unicode's names and keywords where these are as common as
others ("watch", not "wristwatch").

An entry is `name: drawings`. Drawings are OpenMoji's code points, or Font Awesome's glyphs as `fa-NAME` (solid) and
`far-NAME` (regular). Bars separate groups of drawings, of which one is in test images only.
"""

ANIMALS = """
    monkey: 1F435 1F412; gorilla: 1F98D; dog: 1F436 1F415; wolf: 1F43A; fox: 1F98A; raccoon: 1F99D; cat: 1F431 1F408;
    lion: 1F981; tiger: 1F42F 1F405; horse: 1F434 1F40E; unicorn: 1F984; zebra: 1F993; deer: 1F98C; cow: 1F42E 1F404;
    pig: 1F437 1F416; sheep: 1F411; camel: 1F42A 1F42B; giraffe: 1F992; elephant: 1F418; rhinoceros: 1F98F;
    hippopotamus: 1F99B; mouse: 1F42D 1F401; rabbit: 1F430 1F407; squirrel: 1F43F; hedgehog: 1F994; bat: 1F987;
    bear: 1F43B; koala: 1F428; panda: 1F43C; kangaroo: 1F998; turkey: 1F983; rooster: 1F413; chick: 1F424 1F425;
    penguin: 1F427; eagle: 1F985; duck: 1F986; swan: 1F9A2; owl: 1F989; flamingo: 1F9A9; peacock: 1F99A;
    parrot: 1F99C E010; frog: 1F438; crocodile: 1F40A; turtle: 1F422; snake: 1F40D; dragon: 1F432 1F409;
    dinosaur: 1F995 1F996; whale: 1F433 1F40B; dolphin: 1F42C; fish: E000; shark: 1F988; octopus: 1F419;
    jellyfish: 1FABC; crab: 1F980; snail: 1F40C; butterfly: 1F98B; ant: 1F41C; bee: 1F41D; ladybug: 1F41E; spider: 1F577
"""

FOOD = """
    grapes: 1F347; watermelon: 1F349; lemon: 1F34B; banana: 1F34C; pineapple: 1F34D; apple: 1F34E 1F34F; pear: 1F350;
    peach: 1F351; cherry: 1F352; strawberry: 1F353; blueberry: 1FAD0; kiwi fruit: 1F95D; tomato: 1F345; avocado: 1F951;
    eggplant: 1F346; carrot: 1F955; corn: 1F33D; chili: 1F336; bell pepper: 1FAD1; broccoli: 1F966; garlic: 1F9C4;
    pie: 1F967; peanut: 1F95C; mushroom: 1F344 1F344-200D-1F7EB; cucumber: 1F952; croissant: 1F950; baguette: 1F956;
    pretzel: 1F968; pancakes: 1F95E; cheese: 1F9C0; steak: 1F969; chicken leg: 1F357; bacon: 1F953; hamburger: 1F354;
    french fries: 1F35F; pizza: 1F355; hot dog: 1F32D; sandwich: 1F96A; taco: 1F32E; egg: 1F95A; salad: 1F957;
    popcorn: 1F37F; rice ball: 1F359; noodle soup: 1F35C; sushi: 1F363; ice cream: 1F366 1F368; doughnut: 1F369;
    cookie: 1F36A; birthday cake: 1F382; cupcake: 1F9C1; chocolate bar: 1F36B; candy: 1F36C; lollipop: 1F36D;
    coffee: 2615; teapot: 1FAD6; champagne: 1F37E; wine: 1F377; cocktail: 1F378; beer: 1F37A 1F37B; bubble tea: 1F9CB
"""

TRAVEL = """
    locomotive: 1F682; bullet train: 1F684 1F685; tram: 1F68A 1F68B; bus: 1F68C 1F68D; ambulance: 1F691;
    fire engine: 1F692; car: 1F697 1F698; truck: 1F69B; tractor: 1F69C; motorcycle: 1F3CD; kick scooter: 1F6F4;
    wheelchair: 1F9BD 1F9BC; bicycle: 1F6B2; skateboard: 1F6F9; roller skate: 1F6FC; siren: 1F6A8;
    traffic light: 1F6A5 1F6A6; stop sign: 1F6D1; anchor: 2693; life buoy: 1F6DF; sailboat: 26F5; canoe: 1F6F6;
    ship: 1F6A2 1F6F3; airplane: 2708 1F6E9; parachute: 1FA82; helicopter: 1F681; rocket: 1F680; flying saucer: 1F6F8;
    mountain: 26F0 1F3D4; volcano: 1F30B; beach: 1F3D6; island: 1F3DD; construction crane: 1F3D7; house: 1F3E0 1F3E1;
    hospital: 1F3E5; factory: 1F3ED; castle: 1F3F0; eiffel tower: E205; satellite: 1F6F0; church: 26EA; mosque: 1F54C;
    hindu temple: 1F6D5; shinto shrine: 26E9; fountain: 26F2; tent: 26FA; carousel horse: 1F3A0;
    playground slide: 1F6DD; ferris wheel: 1F3A1; wind turbine: E2D1; globe: 1F30D 1F30E 1F30F; compass: 1F9ED;
    sun: 2600 1F31E; moon: 1F319; cloud: 2601; rainbow: 1F308; lightning: 26A1; tornado: 1F32A; snowman: 2603 26C4;
    planet: 1FA90; wave: 1F30A
"""

OBJECTS = """
    glasses: 1F453; t-shirt: 1F455; jeans: 1F456; scarf: 1F9E3; gloves: 1F9E4; socks: 1F9E6; dress: 1F457;
    bikini: 1F459; handbag: 1F45C; backpack: 1F392; sneaker: 1F45F; boot: 1F97E 1F462; high heel: 1F460; crown: 1F451;
    top hat: 1F3A9; graduation cap: 1F393; baseball cap: 1F9E2; lipstick: 1F484; ring: 1F48D; diamond: 1F48E;
    suitcase: 1F9F3; watch: 231A; alarm clock: 23F0; hourglass: 231B 23F3; umbrella: 2602 2614; bed: 1F6CF; sofa: 1F6CB;
    chair: 1FA91; toilet: 1F6BD; shower: 1F6BF; broom: 1F9F9; toilet paper: 1F9FB; bucket: 1FAA3; toothbrush: 1FAA5;
    fire extinguisher: 1F9EF; shopping cart: 1F6D2; candle: 1F56F; light bulb: 1F4A1; television: 1F4FA;
    telephone: 260E; smartphone: 1F4F1; keyboard: 2328; camera: 1F4F7 1F4F8; magnifying glass: 1F50D 1F50E;
    book: 1F4D5 1F4D6; envelope: 2709; pencil: 270F; scissors: 2702; paperclip: 1F4CE; trash can: 1F5D1; padlock: 1F512;
    key: 1F511 1F5DD; hammer: 1F528; axe: 1FA93; saw: 1FA9A; wrench: 1F527; screwdriver: 1FA9B; magnet: 1F9F2;
    ladder: 1FA9C; shovel: 1FA8F; sword: 1F5E1 2694; microscope: 1F52C; syringe: 1F489; stethoscope: 1FA7A
"""

LEISURE = """
    soccer ball: 26BD; baseball: 26BE; basketball: 1F3C0; american football: 1F3C8; bowling pins: 1F3B3;
    hockey stick: 1F3D2; ping pong: 1F3D3; badminton: 1F3F8; boxing glove: 1F94A; golf flag: 26F3; ice skate: 26F8;
    fishing rod: 1F3A3; curling stone: 1F94C; bullseye: 1F3AF; yo-yo: 1FA80; kite: 1FA81; billiard ball: 1F3B1;
    crystal ball: 1F52E; magic wand: 1FA84; game controller: 1F3AE; joystick: 1F579; slot machine: 1F3B0; dice: 1F3B2;
    puzzle piece: 1F9E9; teddy bear: 1F9F8; pinata: 1FA85; disco ball: 1FAA9; nesting doll: 1FA86; theater mask: 1F3AD;
    paint palette: 1F3A8; yarn: 1F9F6; drum: 1F941; maracas: 1FA87; harp: 1FA89; guitar: 1F3B8; violin: 1F3BB;
    trumpet: 1F3BA; saxophone: 1F3B7; accordion: 1FA97; music note: 1F3B5; microphone: 1F3A4; headphones: 1F3A7;
    jack-o-lantern: 1F383; christmas tree: 1F384; balloon: 1F388; ribbon bow: 1F380; gift: 1F381; trophy: 1F3C6;
    medal: 1F3C5; boomerang: 1FA83
"""

FACES = """
    laughing face: 1F606 1F602; winking face: 1F609; kissing face: 1F618; upside-down face: 1F643; angel face: 1F607;
    heart eyes: 1F60D; star eyes: 1F929; tongue out: 1F61B; money mouth: 1F911; shushing face: 1F92B;
    thinking face: 1F914; zipped mouth: 1F910; rolling eyes: 1F644; sleeping face: 1F634; medical mask: 1F637;
    bandaged head: 1F915; vomiting face: 1F92E; sneezing face: 1F927; freezing face: 1F976;
    dizzy face: 1F635-200D-1F4AB; exploding head: 1F92F; cowboy: 1F920; party face: 1F973; face with sunglasses: 1F60E;
    nerd: 1F913; monocle: 1F9D0; surprised face: 1F62E; crying face: 1F62D 1F622; screaming face: 1F631;
    angry face: 1F621; swearing face: 1F92C; devil: 1F608 1F47F; skull: 1F480; clown: 1F921; ghost: 1F47B; alien: 1F47D;
    robot: 1F916; poop: 1F4A9; waving hand: 1F44B; ok sign: 1F44C; victory sign: 270C; crossed fingers: 1F91E;
    horns sign: 1F918; call me sign: 1F919; pointing finger: 1F446; thumbs up: 1F44D; fist: 270A 1F44A;
    clapping hands: 1F44F; heart hands: 1FAF6; handshake: 1F91D; praying hands: 1F64F; selfie: 1F933; flexed arm: 1F4AA;
    foot: 1F9B6; ear: 1F442; brain: 1F9E0; lungs: 1FAC1; tooth: 1F9B7; bone: 1F9B4; lips: 1F444
"""

# By drawing: the woman, the man or the person without gender is seen in tests only.
PEOPLE = """
    doctor: 1F9D1-200D-2695-FE0F | 1F468-200D-2695-FE0F | 1F469-200D-2695-FE0F;
    student: 1F9D1-200D-1F393 | 1F468-200D-1F393 | 1F469-200D-1F393;
    teacher: 1F9D1-200D-1F3EB | 1F468-200D-1F3EB | 1F469-200D-1F3EB;
    judge: 1F9D1-200D-2696-FE0F | 1F468-200D-2696-FE0F | 1F469-200D-2696-FE0F;
    farmer: 1F9D1-200D-1F33E | 1F468-200D-1F33E | 1F469-200D-1F33E;
    cook: 1F9D1-200D-1F373 | 1F468-200D-1F373 | 1F469-200D-1F373;
    mechanic: 1F9D1-200D-1F527 | 1F468-200D-1F527 | 1F469-200D-1F527;
    factory worker: 1F9D1-200D-1F3ED | 1F468-200D-1F3ED | 1F469-200D-1F3ED;
    scientist: 1F9D1-200D-1F52C | 1F468-200D-1F52C | 1F469-200D-1F52C;
    software developer: 1F9D1-200D-1F4BB | 1F468-200D-1F4BB | 1F469-200D-1F4BB;
    singer: 1F9D1-200D-1F3A4 | 1F468-200D-1F3A4 | 1F469-200D-1F3A4;
    painter: 1F9D1-200D-1F3A8 | 1F468-200D-1F3A8 | 1F469-200D-1F3A8;
    pilot: 1F9D1-200D-2708-FE0F | 1F468-200D-2708-FE0F | 1F469-200D-2708-FE0F;
    astronaut: 1F9D1-200D-1F680 | 1F468-200D-1F680 | 1F469-200D-1F680;
    firefighter: 1F9D1-200D-1F692 | 1F468-200D-1F692 | 1F469-200D-1F692;
    police officer: 1F46E | 1F46E-200D-2642-FE0F | 1F46E-200D-2640-FE0F;
    detective: 1F575 | 1F575-FE0F-200D-2642-FE0F | 1F575-FE0F-200D-2640-FE0F;
    royal guard: 1F482 | 1F482-200D-2642-FE0F | 1F482-200D-2640-FE0F;
    construction worker: 1F477 | 1F477-200D-2642-FE0F | 1F477-200D-2640-FE0F;
    person in a turban: 1F473 | 1F473-200D-2642-FE0F | 1F473-200D-2640-FE0F;
    santa claus: 1F385 | 1F936 | 1F9D1-200D-1F384;
    superhero: 1F9B8 | 1F9B8-200D-2642-FE0F | 1F9B8-200D-2640-FE0F;
    supervillain: 1F9B9 | 1F9B9-200D-2642-FE0F | 1F9B9-200D-2640-FE0F;
    wizard: 1F9D9 | 1F9D9-200D-2642-FE0F | 1F9D9-200D-2640-FE0F;
    fairy: 1F9DA | 1F9DA-200D-2642-FE0F | 1F9DA-200D-2640-FE0F;
    vampire: 1F9DB | 1F9DB-200D-2642-FE0F | 1F9DB-200D-2640-FE0F;
    mermaid: 1F9DC | 1F9DC-200D-2642-FE0F | 1F9DC-200D-2640-FE0F;
    elf: 1F9DD | 1F9DD-200D-2642-FE0F | 1F9DD-200D-2640-FE0F;
    genie: 1F9DE | 1F9DE-200D-2642-FE0F | 1F9DE-200D-2640-FE0F;
    zombie: 1F9DF | 1F9DF-200D-2642-FE0F | 1F9DF-200D-2640-FE0F;
    person shrugging: 1F937 | 1F937-200D-2642-FE0F | 1F937-200D-2640-FE0F;
    facepalm: 1F926 | 1F926-200D-2642-FE0F | 1F926-200D-2640-FE0F;
    haircut: 1F487 | 1F487-200D-2642-FE0F | 1F487-200D-2640-FE0F;
    person kneeling: 1F9CE | 1F9CE-200D-2642-FE0F | 1F9CE-200D-2640-FE0F;
    person in a wheelchair: 1F9D1-200D-1F9BD | 1F468-200D-1F9BD | 1F469-200D-1F9BD;
    person with a cane: 1F9D1-200D-1F9AF | 1F468-200D-1F9AF | 1F469-200D-1F9AF;
    person running: 1F3C3 | 1F3C3-200D-2642-FE0F | 1F3C3-200D-2640-FE0F;
    dancer: 1F483 | 1F57A | 1F9D1-200D-1FA70;
    climber: 1F9D7 | 1F9D7-200D-2642-FE0F | 1F9D7-200D-2640-FE0F;
    person golfing: 1F3CC | 1F3CC-FE0F-200D-2642-FE0F | 1F3CC-FE0F-200D-2640-FE0F;
    surfer: 1F3C4 | 1F3C4-200D-2642-FE0F | 1F3C4-200D-2640-FE0F;
    person rowing a boat: 1F6A3 | 1F6A3-200D-2642-FE0F | 1F6A3-200D-2640-FE0F;
    swimmer: 1F3CA | 1F3CA-200D-2642-FE0F | 1F3CA-200D-2640-FE0F;
    weightlifter: 1F3CB | 1F3CB-FE0F-200D-2642-FE0F | 1F3CB-FE0F-200D-2640-FE0F;
    cyclist: 1F6B4 | 1F6B4-200D-2642-FE0F | 1F6B4-200D-2640-FE0F;
    cartwheel: 1F938 | 1F938-200D-2642-FE0F | 1F938-200D-2640-FE0F;
    people wrestling: 1F93C | 1F93C-200D-2642-FE0F | 1F93C-200D-2640-FE0F;
    handball player: 1F93E | 1F93E-200D-2642-FE0F | 1F93E-200D-2640-FE0F;
    person juggling: 1F939 | 1F939-200D-2642-FE0F | 1F939-200D-2640-FE0F;
    meditation: 1F9D8 | 1F9D8-200D-2642-FE0F | 1F9D8-200D-2640-FE0F
"""

SYMBOLS = """
    heart: fa-heart far-heart; star: fa-star far-star; bell: fa-bell far-bell; padlock: fa-lock;
    magnifying glass: fa-magnifying-glass; gear: fa-gear; trash can: fa-trash-can far-trash-can;
    envelope: fa-envelope far-envelope; house: fa-house; person: fa-user far-user; wifi: fa-wifi;
    pause button: fa-circle-pause far-circle-pause; speaker: fa-volume-high;
    calendar: fa-calendar-days far-calendar-days; bookmark: fa-bookmark far-bookmark; paperclip: fa-paperclip;
    printer: fa-print; cloud: fa-cloud; battery: fa-battery-half; plug: fa-plug; map pin: fa-location-dot;
    compass: fa-compass far-compass; flag: fa-flag far-flag; floppy disk: fa-floppy-disk far-floppy-disk;
    folder: fa-folder far-folder; at sign: fa-at; hashtag: fa-hashtag; dollar sign: fa-dollar-sign;
    euro sign: fa-euro-sign; percent sign: fa-percent; plus sign: fa-plus; check mark: fa-check;
    question mark: fa-question; exclamation mark: fa-exclamation; asterisk: fa-asterisk;
    copyright: fa-copyright far-copyright; radiation sign: fa-radiation; biohazard: fa-biohazard;
    recycling symbol: fa-recycle; peace sign: fa-peace; yin yang: fa-yin-yang; infinity: fa-infinity; anchor: fa-anchor;
    bug: fa-bug; barcode: fa-barcode; qr code: fa-qrcode; pie chart: fa-chart-pie; bar chart: fa-chart-column;
    speech bubble: fa-comment far-comment; fingerprint: fa-fingerprint; power button: fa-power-off;
    paper airplane: fa-paper-plane far-paper-plane; music note: fa-music; atom: fa-atom;
    snowflake: fa-snowflake far-snowflake; sun: fa-sun far-sun; moon: fa-moon far-moon; paw print: fa-paw;
    skull and crossbones: fa-skull-crossbones; male sign: fa-mars; female sign: fa-venus;
    warning triangle: fa-triangle-exclamation; microchip: fa-microchip; chess rook: fa-chess-rook far-chess-rook
"""

# By drawing: for one half of the classes Font Awesome's glyph is seen in tests only, for the other half OpenMoji's.
THINGS = """
    cat: 1F431 1F408 | fa-cat; dog: 1F415 | fa-dog; cow: 1F404 | fa-cow; fish: 1F41F | fa-fish; frog: 1F438 | fa-frog;
    hippopotamus: 1F99B | fa-hippo; horse: 1F40E 1F434 | fa-horse fa-horse-head; spider: 1F577 | fa-spider;
    apple: 1F34E | fa-apple-whole; hamburger: 1F354 | fa-burger; birthday cake: 1F382 | fa-cake-candles;
    carrot: 1F955 | fa-carrot; cookie: 1F36A | fa-cookie; lemon: 1F34B | fa-lemon; chili: 1F336 | fa-pepper-hot;
    pizza: 1F355 | fa-pizza-slice; beer: 1F37A | fa-beer-mug-empty; coffee: 2615 | fa-mug-saucer fa-mug-hot;
    bicycle: 1F6B2 | fa-bicycle; bus: 1F68D | fa-bus; car: 1F697 | fa-car-side; motorcycle: 1F3CD | fa-motorcycle;
    tractor: 1F69C | fa-tractor; ambulance: 1F691 | fa-truck-medical; truck: 1F69B | fa-truck;
    airplane: 2708 | fa-plane; rocket: 1F680 | fa-rocket; ship: 1F6A2 1F6F3 | fa-ship; sailboat: 26F5 | fa-sailboat;
    anchor: 2693 | fa-anchor; house: 1F3E0 | fa-house; mosque: 1F54C | fa-mosque; volcano: 1F30B | fa-volcano;
    traffic light: 1F6A6 | fa-traffic-light; key: 1F511 | fa-key; padlock: 1F512 | fa-lock;
    scissors: 2702 | fa-scissors; umbrella: 2602 | fa-umbrella; hammer: 1F528 | fa-hammer; wrench: 1F527 | fa-wrench;
    screwdriver: 1FA9B | fa-screwdriver; magnet: 1F9F2 | fa-magnet; syringe: 1F489 | fa-syringe; bone: 1F9B4 | fa-bone;
    ghost: 1F47B | fa-ghost; skull: 1F480 | fa-skull; crown: 1F451 | fa-crown; glasses: 1F453 | fa-glasses;
    chair: 1FA91 | fa-chair; fire extinguisher: 1F9EF | fa-fire-extinguisher; light bulb: 1F4A1 | fa-lightbulb;
    camera: 1F4F7 | fa-camera; guitar: 1F3B8 | fa-guitar; headphones: 1F3A7 | fa-headphones;
    microphone: 1F3A4 | fa-microphone; megaphone: 1F4E3 | fa-bullhorn; soccer ball: 26BD | fa-futbol;
    trophy: 1F3C6 | fa-trophy; gift: 1F381 | fa-gift; book: 1F4D6 | fa-book-open; envelope: 2709 | fa-envelope;
    pencil: 270F | fa-pencil
"""

TEXTS = {
    "animals": ANIMALS,
    "food": FOOD,
    "travel": TRAVEL,
    "objects": OBJECTS,
    "leisure": LEISURE,
    "faces": FACES,
    "symbols": SYMBOLS,
    "people": PEOPLE,
    "things": THINGS,
}
