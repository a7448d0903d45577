"""Classes of `pictobench` and their drawings, reviewed by hand.

A class is one thing with the name that a person would type. Within a dataset no name means another's kind ("fruit" and
"apple", "car" and "police car"), no two mean the same, and no two look alike once they are turned or recolored: lime
and lemon, mouse and rat, play and reverse.

An entry is `name: drawings`. Drawings are OpenMoji's code points, or Font Awesome's glyphs as `fa-NAME` (solid) and
`far-NAME` (regular). Bars separate groups of drawings, of which one is in test images
only.
"""

ANIMALS = """
    monkey: 1F435 1F412; gorilla: 1F98D; orangutan: 1F9A7; dog: 1F436 1F415; wolf: 1F43A; fox: 1F98A; raccoon: 1F99D;
    cat: 1F431 1F408; lion: 1F981; tiger: 1F42F 1F405; leopard: 1F406; horse: 1F434 1F40E; moose: 1FACE;
    donkey: 1FACF E001; unicorn: 1F984; zebra: 1F993; deer: 1F98C; bison: 1F9AC; cow: 1F42E 1F404; pig: 1F437 1F416;
    wild boar: 1F417; sheep: 1F411; goat: 1F410; camel: 1F42A 1F42B; llama: 1F999; giraffe: 1F992; elephant: 1F418;
    mammoth: 1F9A3; rhinoceros: 1F98F; hippopotamus: 1F99B; mouse: 1F42D 1F401; hamster: 1F439; rabbit: 1F430 1F407;
    chipmunk: 1F43F; beaver: 1F9AB; hedgehog: 1F994; bat: 1F987; bear: 1F43B; koala: 1F428; panda: 1F43C; sloth: 1F9A5;
    otter: 1F9A6; skunk: 1F9A8; kangaroo: 1F998; badger: 1F9A1; turkey: 1F983; rooster: 1F413; chick: 1F424 1F425;
    penguin: 1F427; dove: 1F54A; eagle: 1F985; duck: 1F986; swan: 1F9A2; owl: 1F989; dodo: 1F9A4; flamingo: 1F9A9;
    peacock: 1F99A; parrot: 1F99C E010; frog: 1F438; crocodile: 1F40A; turtle: 1F422; lizard: 1F98E; snake: 1F40D;
    dragon: 1F432 1F409; dinosaur: 1F995 1F996; whale: 1F433 1F40B; dolphin: 1F42C; narwhal: E006; seal: 1F9AD;
    goldfish: E000; pufferfish: 1F421; shark: 1F988; octopus: 1F419; jellyfish: 1FABC; crab: 1F980; lobster: 1F99E;
    shrimp: 1F990; squid: 1F991; oyster: 1F9AA; snail: 1F40C; butterfly: 1F98B; caterpillar: 1F41B; ant: 1F41C;
    bee: 1F41D; ladybug: 1F41E; cockroach: 1FAB3; spider: 1F577; scorpion: 1F982; mosquito: 1F99F; fly: 1FAB0;
    worm: 1FAB1
"""

FOOD = """
    grapes: 1F347; watermelon: 1F349; tangerine: 1F34A; lemon: 1F34B; banana: 1F34C; pineapple: 1F34D; mango: 1F96D;
    apple: 1F34E 1F34F; pear: 1F350; peach: 1F351; cherry: 1F352; strawberry: 1F353; blueberry: 1FAD0;
    kiwi fruit: 1F95D; tomato: 1F345; olive: 1FAD2; coconut: 1F965; pomegranate: E0C4; avocado: 1F951; eggplant: 1F346;
    potato: 1F954; carrot: 1F955; corn: 1F33D; chili: 1F336; bell pepper: 1FAD1; cucumber: 1F952; broccoli: 1F966;
    garlic: 1F9C4; onion: 1F9C5; peanut: 1F95C; chestnut: 1F330; ginger: 1FADA; peas: 1FADB;
    mushroom: 1F344 1F344-200D-1F7EB; bread: 1F35E; croissant: 1F950; baguette: 1F956; pretzel: 1F968; bagel: 1F96F;
    pancakes: 1F95E; waffle: 1F9C7; cheese: 1F9C0; steak: 1F969; chicken leg: 1F357; bacon: 1F953; hamburger: 1F354;
    french fries: 1F35F; pizza: 1F355; hot dog: 1F32D; sandwich: 1F96A; taco: 1F32E; burrito: 1F32F; egg: 1F95A;
    salad: 1F957; popcorn: 1F37F; butter: 1F9C8; salt: 1F9C2; bento box: 1F371; rice ball: 1F359; bowl of rice: 1F35A;
    curry: 1F35B; noodle soup: 1F35C; spaghetti: 1F35D; sushi: 1F363; fried shrimp: 1F364; dango: 1F361;
    dumpling: 1F95F; takeout box: 1F961; ice cream: 1F366 1F368; doughnut: 1F369; cookie: 1F36A; birthday cake: 1F382;
    cupcake: 1F9C1; pie: 1F967; chocolate bar: 1F36B; candy: 1F36C; lollipop: 1F36D; pudding: 1F36E; honey: 1F36F;
    baby bottle: 1F37C; milk: 1F95B; coffee: 2615; teapot: 1FAD6; sake: 1F376; champagne: 1F37E; wine: 1F377;
    cocktail: 1F378; beer: 1F37A 1F37B; whiskey: 1F943; soda: 1F964; bubble tea: 1F9CB; juice box: 1F9C3;
    ice cube: 1F9CA
"""

TRAVEL = """
    locomotive: 1F682; bullet train: 1F684 1F685; subway: 1F687; tram: 1F68A 1F68B; monorail: 1F69D; bus: 1F68C 1F68D;
    van: 1F690; ambulance: 1F691; fire engine: 1F692; taxi: 1F695 1F696; car: 1F697 1F698; truck: 1F69A 1F69B;
    tractor: 1F69C; motorcycle: 1F3CD; moped: 1F6F5; kick scooter: 1F6F4; wheelchair: 1F9BD 1F9BC; rickshaw: 1F6FA;
    bicycle: 1F6B2; skateboard: 1F6F9; roller skate: 1F6FC; gas pump: 26FD; siren: 1F6A8; traffic light: 1F6A5 1F6A6;
    stop sign: 1F6D1; roadblock: 1F6A7; anchor: 2693; life buoy: 1F6DF; sailboat: 26F5; canoe: 1F6F6;
    speedboat: 1F6A4; ship: 1F6A2 1F6F3; airplane: 2708 1F6E9; parachute: 1FA82; helicopter: 1F681;
    cable car: 1F6A0 1F6A1; satellite: 1F6F0; rocket: 1F680; flying saucer: 1F6F8; drone: E1D2; space shuttle: E20B;
    mountain: 26F0 1F3D4; volcano: 1F30B; beach: 1F3D6; desert: 1F3DC; island: 1F3DD; stadium: 1F3DF; crane: 1F3D7;
    hut: 1F6D6; house: 1F3E0 1F3E1; skyscraper: 1F3D9; hospital: 1F3E5; hotel: 1F3E8; school: 1F3EB; factory: 1F3ED;
    castle: 1F3F0; eiffel tower: E205; statue of liberty: 1F5FD; church: 26EA; mosque: 1F54C; hindu temple: 1F6D5;
    synagogue: 1F54D; torii gate: 26E9; kaaba: 1F54B; fountain: 26F2; tent: 26FA; bridge: 1F309; hot spring: 2668;
    carousel: 1F3A0; playground slide: 1F6DD; ferris wheel: 1F3A1; roller coaster: 1F3A2; wind turbine: E2D1;
    iceberg: E2C0; stairs: E202; world map: 1F5FA; globe: 1F30D 1F30E 1F30F; compass: 1F9ED; sun: 2600 1F31E;
    moon: 1F319; cloud: 2601; rainbow: 1F308; lightning: 26A1; tornado: 1F32A; snowman: 2603 26C4; comet: 2604;
    planet: 1FA90; fire: 1F525; wave: 1F30A
"""

OBJECTS = """
    glasses: 1F453; goggles: 1F97D; safety vest: 1F9BA; necktie: 1F454; t-shirt: 1F455; jeans: 1F456; scarf: 1F9E3;
    gloves: 1F9E4; coat: 1F9E5; socks: 1F9E6; dress: 1F457; kimono: 1F458; swimsuit: 1FA71; bikini: 1F459;
    shorts: 1FA73; handbag: 1F45C; shopping bag: 1F6CD; backpack: 1F392; sandal: 1F461 1FA74; sneaker: 1F45F;
    boot: 1F97E 1F462; high heel: 1F460; crown: 1F451; top hat: 1F3A9; graduation cap: 1F393; baseball cap: 1F9E2;
    helmet: 1FA96 26D1; lipstick: 1F484; ring: 1F48D; diamond: 1F48E; suitcase: 1F9F3; wristwatch: 231A;
    alarm clock: 23F0; stopwatch: 23F1; hourglass: 231B 23F3; umbrella: 2602 2614; door: 1F6AA; window: 1FA9F;
    mirror: 1FA9E; bed: 1F6CF; sofa: 1F6CB; chair: 1FA91; toilet: 1F6BD; plunger: 1FAA0; shower: 1F6BF; bathtub: 1F6C1;
    razor: 1FA92; safety pin: 1F9F7; broom: 1F9F9; basket: 1F9FA; toilet paper: 1F9FB; bucket: 1FAA3; soap: 1F9FC;
    toothbrush: 1FAA5; sponge: 1F9FD; fire extinguisher: 1F9EF; shopping cart: 1F6D2; washing machine: E1CF;
    candle: 1F56F; light bulb: 1F4A1; flashlight: 1F526; television: 1F4FA; radio: 1F4FB; telephone: 260E;
    smartphone: 1F4F1; laptop: 1F4BB; printer: 1F5A8; keyboard: 2328; computer mouse: 1F5B1; camera: 1F4F7 1F4F8;
    battery: 1F50B 1FAAB; magnifying glass: 1F50D 1F50E; newspaper: 1F4F0; book: 1F4D5 1F4D6; envelope: 2709;
    mailbox: 1F4EA 1F4EB; package: 1F4E6; pencil: 270F; paintbrush: 1F58C; scissors: 2702; paperclip: 1F4CE;
    thumbtack: 1F4CC; ruler: 1F4CF; briefcase: 1F4BC; trash can: 1F5D1; padlock: 1F512; key: 1F511 1F5DD;
    hammer: 1F528; axe: 1FA93; saw: 1FA9A; wrench: 1F527; screwdriver: 1FA9B; magnet: 1F9F2; ladder: 1FA9C;
    shovel: 1FA8F; sword: 1F5E1 2694; microscope: 1F52C; telescope: 1F52D; syringe: 1F489; stethoscope: 1FA7A
"""

LEISURE = """
    soccer ball: 26BD; baseball: 26BE; basketball: 1F3C0; volleyball: 1F3D0; american football: 1F3C8; tennis: 1F3BE;
    bowling: 1F3B3; cricket bat: 1F3CF; ice hockey: 1F3D2; lacrosse: 1F94D; ping pong: 1F3D3; badminton: 1F3F8;
    boxing glove: 1F94A; karate uniform: 1F94B; goal net: 1F945; golf: 26F3; ice skate: 26F8; fishing rod: 1F3A3;
    diving mask: 1F93F; skis: 1F3BF; sled: 1F6F7; curling stone: 1F94C; dartboard: 1F3AF; yo-yo: 1FA80; kite: 1FA81;
    water pistol: 1F52B; billiard ball: 1F3B1; crystal ball: 1F52E; magic wand: 1FA84; game controller: 1F3AE;
    joystick: 1F579; slot machine: 1F3B0; dice: 1F3B2; puzzle piece: 1F9E9; teddy bear: 1F9F8; pinata: 1FA85;
    disco ball: 1FAA9; nesting doll: 1FA86; theater masks: 1F3AD; paint palette: 1F3A8; spool of thread: 1F9F5;
    yarn: 1F9F6; drum: 1F941; maracas: 1FA87; flute: 1FA88; harp: 1FA89; guitar: 1F3B8; violin: 1F3BB; banjo: 1FA95;
    trumpet: 1F3BA; saxophone: 1F3B7; accordion: 1FA97; piano keys: 1F3B9; music note: 1F3B5; microphone: 1F3A4;
    headphones: 1F3A7; megaphone: 1F4E3; jack-o-lantern: 1F383; christmas tree: 1F384; firecracker: 1F9E8;
    balloon: 1F388; bow: 1F380; gift: 1F381; ticket: 1F3AB 1F39F; trophy: 1F3C6; medal: 1F3C5; film projector: 1F4FD;
    boomerang: 1FA83; bow and arrow: 1F3F9
"""

FACES = """
    laughing face: 1F606 1F602; winking face: 1F609; kissing face: 1F618; upside-down face: 1F643; melting face: 1FAE0;
    angel face: 1F607; heart eyes: 1F60D; star eyes: 1F929; tongue out: 1F61B; money mouth: 1F911; hugging face: 1F917;
    shushing face: 1F92B; thinking face: 1F914; saluting face: 1FAE1; zipped mouth: 1F910; face without mouth: 1F636;
    rolling eyes: 1F644; liar with long nose: 1F925; drooling face: 1F924; sleeping face: 1F634; face mask: 1F637;
    thermometer in mouth: 1F912; bandaged head: 1F915; vomiting face: 1F92E; sneezing face: 1F927; hot face: 1F975;
    freezing face: 1F976; dizzy face: 1F635-200D-1F4AB; exploding head: 1F92F; cowboy: 1F920; party face: 1F973;
    disguise: 1F978; sunglasses: 1F60E; nerd: 1F913; monocle: 1F9D0; surprised face: 1F62E; crying face: 1F62D 1F622;
    screaming face: 1F631; angry face: 1F621; swearing face: 1F92C; devil: 1F608 1F47F; skull: 1F480; clown: 1F921;
    ogre: 1F479; goblin: 1F47A; ghost: 1F47B; alien: 1F47D; robot: 1F916; poop: 1F4A9; waving hand: 1F44B;
    raised hand: 270B; vulcan salute: 1F596; ok sign: 1F44C; victory sign: 270C; crossed fingers: 1F91E;
    horns sign: 1F918; call me sign: 1F919; pointing finger: 1F446; thumbs up: 1F44D; fist: 270A 1F44A;
    clapping hands: 1F44F; heart hands: 1FAF6; handshake: 1F91D; praying hands: 1F64F; writing hand: 270D;
    painted nails: 1F485; selfie: 1F933; flexed arm: 1F4AA; foot: 1F9B6; ear: 1F442; nose: 1F443; brain: 1F9E0;
    lungs: 1FAC1; tooth: 1F9B7; bone: 1F9B4; eye: 1F441; tongue: 1F445; lips: 1F444
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
    welder: 1F9D1-200D-1F3ED | 1F468-200D-1F3ED | 1F469-200D-1F3ED;
    scientist: 1F9D1-200D-1F52C | 1F468-200D-1F52C | 1F469-200D-1F52C;
    programmer: 1F9D1-200D-1F4BB | 1F468-200D-1F4BB | 1F469-200D-1F4BB;
    singer: 1F9D1-200D-1F3A4 | 1F468-200D-1F3A4 | 1F469-200D-1F3A4;
    painter: 1F9D1-200D-1F3A8 | 1F468-200D-1F3A8 | 1F469-200D-1F3A8;
    pilot: 1F9D1-200D-2708-FE0F | 1F468-200D-2708-FE0F | 1F469-200D-2708-FE0F;
    astronaut: 1F9D1-200D-1F680 | 1F468-200D-1F680 | 1F469-200D-1F680;
    firefighter: 1F9D1-200D-1F692 | 1F468-200D-1F692 | 1F469-200D-1F692;
    barista: E185 | E186 | E187;
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
    head massage: 1F486 | 1F486-200D-2642-FE0F | 1F486-200D-2640-FE0F;
    haircut: 1F487 | 1F487-200D-2642-FE0F | 1F487-200D-2640-FE0F;
    baby feeding: 1F9D1-200D-1F37C | 1F468-200D-1F37C | 1F469-200D-1F37C;
    person in a wheelchair: 1F9D1-200D-1F9BD | 1F468-200D-1F9BD | 1F469-200D-1F9BD;
    person with white cane: 1F9D1-200D-1F9AF | 1F468-200D-1F9AF | 1F469-200D-1F9AF;
    person kneeling: 1F9CE | 1F9CE-200D-2642-FE0F | 1F9CE-200D-2640-FE0F;
    runner: 1F3C3 | 1F3C3-200D-2642-FE0F | 1F3C3-200D-2640-FE0F;
    dancer: 1F483 | 1F57A | 1F9D1-200D-1FA70;
    climber: 1F9D7 | 1F9D7-200D-2642-FE0F | 1F9D7-200D-2640-FE0F;
    golfer: 1F3CC | 1F3CC-FE0F-200D-2642-FE0F | 1F3CC-FE0F-200D-2640-FE0F;
    surfer: 1F3C4 | 1F3C4-200D-2642-FE0F | 1F3C4-200D-2640-FE0F;
    rower: 1F6A3 | 1F6A3-200D-2642-FE0F | 1F6A3-200D-2640-FE0F;
    swimmer: 1F3CA | 1F3CA-200D-2642-FE0F | 1F3CA-200D-2640-FE0F;
    weightlifter: 1F3CB | 1F3CB-FE0F-200D-2642-FE0F | 1F3CB-FE0F-200D-2640-FE0F;
    cyclist: 1F6B4 | 1F6B4-200D-2642-FE0F | 1F6B4-200D-2640-FE0F;
    cartwheel: 1F938 | 1F938-200D-2642-FE0F | 1F938-200D-2640-FE0F;
    wrestlers: 1F93C | 1F93C-200D-2642-FE0F | 1F93C-200D-2640-FE0F;
    handball player: 1F93E | 1F93E-200D-2642-FE0F | 1F93E-200D-2640-FE0F;
    juggler: 1F939 | 1F939-200D-2642-FE0F | 1F939-200D-2640-FE0F;
    meditation: 1F9D8 | 1F9D8-200D-2642-FE0F | 1F9D8-200D-2640-FE0F
"""

SYMBOLS = """
    heart: fa-heart far-heart; star: fa-star far-star; bell: fa-bell far-bell; padlock: fa-lock; key: fa-key;
    magnifying glass: fa-magnifying-glass; gear: fa-gear; trash can: fa-trash-can far-trash-can;
    envelope: fa-envelope far-envelope; house: fa-house; person: fa-user far-user; wifi: fa-wifi;
    pause button: fa-circle-pause far-circle-pause; speaker: fa-volume-high; microphone: fa-microphone;
    camera: fa-camera; calendar: fa-calendar-days far-calendar-days; bookmark: fa-bookmark far-bookmark;
    paperclip: fa-paperclip; printer: fa-print; funnel: fa-filter; cloud: fa-cloud; battery: fa-battery-half;
    plug: fa-plug; shopping cart: fa-cart-shopping; credit card: fa-credit-card far-credit-card;
    map pin: fa-location-dot; compass: fa-compass far-compass; map: fa-map far-map; flag: fa-flag far-flag;
    thumbtack: fa-thumbtack; pencil: fa-pencil; eraser: fa-eraser; scissors: fa-scissors;
    floppy disk: fa-floppy-disk far-floppy-disk; folder: fa-folder far-folder; at sign: fa-at; hashtag: fa-hashtag;
    dollar sign: fa-dollar-sign; euro sign: fa-euro-sign; percent sign: fa-percent; plus sign: fa-plus;
    check mark: fa-check; question mark: fa-question; exclamation mark: fa-exclamation; asterisk: fa-asterisk;
    paragraph sign: fa-paragraph; quotation mark: fa-quote-right; copyright: fa-copyright far-copyright;
    registered trademark: fa-registered far-registered; radiation sign: fa-radiation; biohazard: fa-biohazard;
    recycling symbol: fa-recycle; peace sign: fa-peace; yin yang: fa-yin-yang; infinity: fa-infinity; anchor: fa-anchor;
    bug: fa-bug; barcode: fa-barcode; qr code: fa-qrcode; pie chart: fa-chart-pie; bar chart: fa-chart-column;
    eye: fa-eye far-eye; light bulb: fa-lightbulb far-lightbulb; speech bubble: fa-comment far-comment;
    fingerprint: fa-fingerprint; puzzle piece: fa-puzzle-piece; power button: fa-power-off; sliders: fa-sliders;
    paper airplane: fa-paper-plane far-paper-plane; musical note: fa-music; atom: fa-atom; crown: fa-crown;
    snowflake: fa-snowflake far-snowflake; sun: fa-sun far-sun; moon: fa-moon far-moon; umbrella: fa-umbrella;
    fire: fa-fire; leaf: fa-leaf; paw print: fa-paw; globe: fa-globe; wheelchair: fa-wheelchair;
    skull and crossbones: fa-skull-crossbones; menorah: fa-menorah; star of david: fa-star-of-david;
    star and crescent: fa-star-and-crescent; om: fa-om; ankh: fa-ankh; male sign: fa-mars; female sign: fa-venus;
    warning triangle: fa-triangle-exclamation; no entry: fa-ban; target: fa-bullseye; sitemap: fa-sitemap;
    microchip: fa-microchip; database: fa-database; hourglass: fa-hourglass-half far-hourglass-half;
    chess knight: fa-chess-knight far-chess-knight; chess rook: fa-chess-rook far-chess-rook;
    diamond: fa-gem far-gem
"""

# By drawing: for one half of the classes Font Awesome's glyph is seen in tests only, for the other half OpenMoji's.
THINGS = """
    cat: 1F431 1F408 | fa-cat; dog: 1F415 | fa-dog; cow: 1F404 | fa-cow; dragon: 1F409 | fa-dragon; fish: 1F41F | fa-fish;
    frog: 1F438 | fa-frog; hippopotamus: 1F99B | fa-hippo; horse: 1F40E 1F434 | fa-horse fa-horse-head;
    mosquito: 1F99F | fa-mosquito; otter: 1F9A6 | fa-otter; shrimp: 1F990 | fa-shrimp; spider: 1F577 | fa-spider;
    dove: 1F54A | fa-dove; feather: 1FAB6 | fa-feather; apple: 1F34E | fa-apple-whole; bacon: 1F953 | fa-bacon;
    bread: 1F35E | fa-bread-slice; hamburger: 1F354 | fa-burger; birthday cake: 1F382 | fa-cake-candles;
    carrot: 1F955 | fa-carrot; cheese: 1F9C0 | fa-cheese; cookie: 1F36A | fa-cookie; chicken leg: 1F357 | fa-drumstick-bite;
    hot dog: 1F32D | fa-hotdog; ice cream: 1F366 | fa-ice-cream; lemon: 1F34B | fa-lemon; chili: 1F336 | fa-pepper-hot;
    pizza: 1F355 | fa-pizza-slice; beer: 1F37A | fa-beer-mug-empty; cocktail: 1F378 | fa-martini-glass-citrus;
    coffee: 2615 | fa-mug-saucer fa-mug-hot; wine glass: 1F377 | fa-wine-glass; bicycle: 1F6B2 | fa-bicycle;
    bus: 1F68D | fa-bus; car: 1F697 | fa-car-side; motorcycle: 1F3CD | fa-motorcycle; tractor: 1F69C | fa-tractor;
    tram: 1F68A | fa-train-tram; ambulance: 1F691 | fa-truck-medical; truck: 1F69B 1F69A | fa-truck;
    wheelchair: 1F9BD | fa-wheelchair; airplane: 2708 | fa-plane; helicopter: 1F681 | fa-helicopter;
    rocket: 1F680 | fa-rocket; ship: 1F6A2 1F6F3 | fa-ship; sailboat: 26F5 | fa-sailboat; anchor: 2693 | fa-anchor;
    church: 26EA | fa-church; house: 1F3E0 | fa-house; factory: 1F3ED | fa-industry; mosque: 1F54C | fa-mosque;
    tent: 26FA | fa-tent fa-campground; torii gate: 26E9 | fa-torii-gate; volcano: 1F30B | fa-volcano;
    traffic light: 1F6A6 | fa-traffic-light; key: 1F511 | fa-key; padlock: 1F512 | fa-lock; scissors: 2702 | fa-scissors;
    umbrella: 2602 | fa-umbrella; hammer: 1F528 | fa-hammer; wrench: 1F527 | fa-wrench; screwdriver: 1FA9B | fa-screwdriver;
    magnet: 1F9F2 | fa-magnet; bomb: 1F4A3 | fa-bomb; syringe: 1F489 | fa-syringe; stethoscope: 1FA7A | fa-stethoscope;
    microscope: 1F52C | fa-microscope; tooth: 1F9B7 | fa-tooth; bone: 1F9B4 | fa-bone; brain: 1F9E0 | fa-brain;
    ghost: 1F47B | fa-ghost; robot: 1F916 | fa-robot; skull: 1F480 | fa-skull; crown: 1F451 | fa-crown;
    glasses: 1F453 | fa-glasses; socks: 1F9E6 | fa-socks; ring: 1F48D | fa-ring; chair: 1FA91 | fa-chair;
    couch: 1F6CB | fa-couch; toilet: 1F6BD | fa-toilet; bathtub: 1F6C1 | fa-bath; shower: 1F6BF | fa-shower;
    broom: 1F9F9 | fa-broom; fire extinguisher: 1F9EF | fa-fire-extinguisher; light bulb: 1F4A1 | fa-lightbulb;
    television: 1F4FA | fa-tv; laptop: 1F4BB | fa-laptop; keyboard: 2328 | fa-keyboard; camera: 1F4F7 | fa-camera;
    guitar: 1F3B8 | fa-guitar; drum: 1F941 | fa-drum; headphones: 1F3A7 | fa-headphones;
    microphone: 1F3A4 | fa-microphone; megaphone: 1F4E3 | fa-bullhorn; soccer ball: 26BD | fa-futbol; trophy: 1F3C6 | fa-trophy;
    gift: 1F381 | fa-gift; book: 1F4D6 | fa-book-open; envelope: 2709 | fa-envelope; pencil: 270F | fa-pencil
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
