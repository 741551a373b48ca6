# Gives a corpus more names and numbers than it has: in every second English-German pair that could, one becomes another one, on both sides.
#
#   for seed in 1 2 3; do zcat train.tsv.gz | LC_ALL=C awk -v seed=$seed -f scripts/vary.awk; done | gzip > varied.tsv.gz
#
# Columns: English, German. Tatoeba knows hardly any name but Tom, Mary and Boston, hardly any time but 2:30, and a model learns only what it has seen.
# What is exchanged stands equally often on both sides, all of its occurrences alike, so that the pair stays a translation. The choice follows from the seed
# and the text alone: the same comes out of every awk.

BEGIN {
    FS = OFS = "\t"
    random = 20180513 + seed

    # Each list: what is replaced, as english=german, then what may stand in its place. Names that end in s have another German genitive: none here.
    sizes["men"] = split("Tom=Tom John=John Jack=Jack Ben=Ben Paul=Paul Peter=Peter Max=Max Felix=Felix Leon=Leon Jan=Jan Tim=Tim Jonathan=Jonathan " \
        "Michael=Michael Martin=Martin Stefan=Stefan Daniel=Daniel David=David Robert=Robert Thorsten=Thorsten Walter=Walter Karl=Karl " \
        "Oskar=Oskar Emil=Emil Anton=Anton Jakob=Jakob Simon=Simon Florian=Florian Sebastian=Sebastian Christian=Christian Oliver=Oliver " \
        "Alexander=Alexander Johann=Johann Georg=Georg Frank=Frank Ali=Ali Mehmet=Mehmet Ahmed=Ahmed Pablo=Pablo Marco=Marco Luca=Luca " \
        "Pierre=Pierre Ivan=Ivan Hiroshi=Hiroshi Uwe=Uwe Ralf=Ralf Dieter=Dieter Wolfgang=Wolfgang Otto=Otto Erik=Erik Philipp=Philipp " \
        "Henry=Henry William=William James=James George=George Mark=Mark Bill=Bill Steven=Steven Kevin=Kevin Brian=Brian Adam=Adam", men, " ")
    sizes["women"] = split("Mary=Maria Mary=Mary Anna=Anna Julia=Julia Laura=Laura Lisa=Lisa Sarah=Sarah Emma=Emma Lena=Lena Lea=Lea Sophie=Sophie " \
        "Marie=Marie Hannah=Hannah Eva=Eva Katharina=Katharina Christine=Christine Sabine=Sabine Petra=Petra Monika=Monika Ursula=Ursula " \
        "Helga=Helga Ingrid=Ingrid Claudia=Claudia Andrea=Andrea Stefanie=Stefanie Nina=Nina Clara=Clara Paula=Paula Mia=Mia Nora=Nora " \
        "Elena=Elena Olga=Olga Fatima=Fatima Ayse=Ayse Carmen=Carmen Yuki=Yuki Elisabeth=Elisabeth Charlotte=Charlotte Martha=Martha " \
        "Susan=Susan Linda=Linda Jane=Jane Emily=Emily Kate=Kate Nancy=Nancy Rose=Rose Barbara=Barbara Helen=Helen Rita=Rita", women, " ")
    sizes["cities"] = split("Boston=Boston Berlin=Berlin Hamburg=Hamburg Munich=München Cologne=Köln Frankfurt=Frankfurt Leipzig=Leipzig Dresden=Dresden " \
        "Stuttgart=Stuttgart Bonn=Bonn Vienna=Wien Zurich=Zürich Basel=Basel Salzburg=Salzburg London=London Rome=Rom Madrid=Madrid " \
        "Prague=Prag Warsaw=Warschau Moscow=Moskau Istanbul=Istanbul Oslo=Oslo Lisbon=Lissabon Milan=Mailand Venice=Venedig " \
        "Chicago=Chicago Tokyo=Tokio Dublin=Dublin Copenhagen=Kopenhagen Budapest=Budapest Geneva=Genf Nuremberg=Nürnberg", cities, " ")
    sizes["countries"] = split("Australia=Australien Germany=Deutschland Austria=Österreich France=Frankreich Italy=Italien Spain=Spanien Portugal=Portugal " \
        "Poland=Polen England=England Ireland=Irland Scotland=Schottland Norway=Norwegen Sweden=Schweden Denmark=Dänemark " \
        "Finland=Finnland Russia=Russland Greece=Griechenland Canada=Kanada Mexico=Mexiko Brazil=Brasilien India=Indien China=China " \
        "Japan=Japan Egypt=Ägypten Kenya=Kenia Hungary=Ungarn Belgium=Belgien Argentina=Argentinien", countries, " ")
    sizes["languages"] = split("French=Französisch German=Deutsch English=Englisch Spanish=Spanisch Italian=Italienisch Russian=Russisch Polish=Polnisch " \
        "Turkish=Türkisch Japanese=Japanisch Chinese=Chinesisch Portuguese=Portugiesisch Arabic=Arabisch Swedish=Schwedisch " \
        "Greek=Griechisch Dutch=Niederländisch Korean=Koreanisch", languages, " ")
    # Numbers up to twelve are hours too, and become none that is not.
    sizes["to_twelve"] = split("two=zwei three=drei four=vier five=fünf six=sechs seven=sieben eight=acht nine=neun ten=zehn eleven=elf twelve=zwölf", to_twelve, " ")
    sizes["beyond"] = split("thirteen=dreizehn fourteen=vierzehn fifteen=fünfzehn sixteen=sechzehn seventeen=siebzehn eighteen=achtzehn " \
        "nineteen=neunzehn twenty=zwanzig thirty=dreißig forty=vierzig fifty=fünfzig sixty=sechzig seventy=siebzig eighty=achtzig ninety=neunzig " \
        "twenty-one=einundzwanzig twenty-five=fünfundzwanzig thirty-two=zweiunddreißig forty-eight=achtundvierzig", beyond, " ")
    # Of what names that nobody has are made, two or three in a row; that is how one learns to copy letter by letter.
    sizes["beginnings"] = split("Ba Be Bo Da De Do Fa Fe Ga Ge Gu Ha He Ho Ja Jo Ka Ke Ko Kra La Le Lo Ma Me Mi Mo Na Ne No Pa Pe Ra Re Ri Ro Sa Se Ste Ta Te " \
        "Ti To Tra Va Ve Vi Wa We Wi Za", beginnings, " ")
    sizes["middles"] = split("ba be bi da di do fe ga go ha la le li lo ma me mi mo na ne ni no ra re ri ro sa se ta te ti to va ve vi wa ze", middles, " ")
    sizes["ends"] = split("a o e i n l r k m t bert nia lin rik dra mar ko len tan", ends, " ")
}

# A whole number in 1..n.
function draw(n) {
    random = (random * 16807) % 2147483647
    return 1 + random % n
}

# `text` with every word `old` (or its genitive, `old` + suffix) turned into `new`; `count` is set to how many there were.
function exchange(text, old, new, suffix,    out, at, before, after) {
    out = ""
    count = 0
    while ((at = index(text, old)) > 0) {
        before = at > 1 ? substr(text, at - 1, 1) : substr(out, length(out))
        after = substr(text, at + length(old))
        if (before !~ /[A-Za-z0-9\200-\377]/ && (after == "" || after ~ ("^(" suffix ")?([^A-Za-z0-9\200-\377]|$)"))) {
            out = out substr(text, 1, at - 1) new
            count++
        } else {
            out = out substr(text, 1, at - 1) old
        }
        text = after
    }
    return out text
}

# Exchanges `from` for `to` (each is english=german) on both sides, if it stands equally often on both.
function replace(from, to,    old, new, english, german, matches) {
    split(from, old, "=")
    if (index($1, old[1]) == 0 || index($2, old[2]) == 0) return 0
    split(to, new, "=")
    if (index($1, new[1]) > 0) return 0
    english = exchange($1, old[1], new[1], "'s")
    matches = count
    german = exchange($2, old[2], new[2], "s")
    if (count == 0 || count != matches) return 0
    $1 = english
    $2 = german
    return 1
}

# Exchanges the one at `old` for another one of `list`.
function vary(list, size, old) {
    return replace(list[old], list[draw(size)])
}

# Exchanges the first of `list` that can be.
function vary_any(list, size,    old) {
    for (old = 1; old <= size; old++) if (vary(list, size, old)) return 1
    return 0
}

# A name that nobody has.
function invent(    name) {
    name = beginnings[draw(sizes["beginnings"])] middles[draw(sizes["middles"])]
    if (draw(2) == 1) name = name middles[draw(sizes["middles"])]
    return name ends[draw(sizes["ends"])]
}

# Exchanges `old` of `list` for a name of the list, every third time for an invented one.
function vary_name(list, size, old,    name) {
    if (draw(3) > 1) return vary(list, size, old)
    name = invent()
    return replace(list[old], name "=" name)
}

# Another number with as many digits, as many zeros at its end, and separators where `number` has them.
function another(number,    out, at, digit, zeros) {
    if (number ~ /^[0-9]+$/ && number + 0 <= 12) return 1 + draw(11)
    if (number ~ /^1[0-9][0-9][0-9]$/) return 1500 + draw(499)
    if (number ~ /^20[0-9][0-9]$/) return 1999 + draw(30)
    match(number, /[0.,:]*$/)
    zeros = RSTART
    for (at = 1; at <= length(number); at++) {
        digit = substr(number, at, 1)
        out = out (digit ~ /[0-9]/ && at < zeros ? (at == 1 || at == zeros - 1 ? draw(9) : draw(10) - 1) : digit)
    }
    return out
}

# The German word for a number from two to twelve.
function german_word(number,    names) {
    split(to_twelve[number - 1], names, "=")
    return names[2]
}

# Exchanges the first number of this line that is written in digits. What is 2:30 in English is 2:30, 2.30, or halb drei; 6 p.m. is 18 Uhr; 1,000 is 1.000 or 1000.
function vary_digits(    old, new, rest, german_old, german_new, ending) {
    if (!match($1, /[0-9]([0-9.,:]*[0-9])?/)) return 0
    old = substr($1, RSTART, RLENGTH)
    rest = substr($1, RSTART + RLENGTH)
    if (rest ~ /^ p\.m\./) {
        sub(/:00$/, "", old)
        new = draw(11)
        return replace(old "=" (old + 12), new "=" (new + 12)) || replace(old ":00=" (old + 12), new ":00=" (new + 12))
    }
    if (old ~ /^[0-9]+:[0-9][0-9]$/) {
        new = draw(11) ":" (1 + draw(4)) 5 * (draw(2) - 1)
        german_old = old
        german_new = new
        sub(/:/, ".", german_old)
        sub(/:/, ".", german_new)
        if (replace(old "=" old, new "=" new) || replace(old "=" german_old, new "=" german_new)) return 1
        new = draw(11)
        return old ~ /^([1-9]|1[01]):30$/ && replace(old "=halb " german_word(old + 1), new ":30=halb " german_word(new + 1))
    }
    if (match(rest, /^(st|nd|rd|th)/)) {
        new = draw(31)
        ending = new ~ /^1[123]$/ ? "th" : new ~ /1$/ ? "st" : new ~ /2$/ ? "nd" : new ~ /3$/ ? "rd" : "th"
        return replace(old substr(rest, 1, 2) "=" old, new ending "=" new)
    }
    german_old = old
    german_new = new = another(old)
    if (gsub(/,/, ".", german_old)) {
        gsub(/,/, ".", german_new)
        if (replace(old "=" german_old, new "=" german_new)) return 1
        gsub(/\./, "", german_old)
        gsub(/\./, "", german_new)
    }
    if (replace(old "=" german_old, new "=" german_new)) return 1
    return old ~ /^([2-9]|1[0-2])$/ && replace(old "=" german_word(old), new "=" german_word(new))
}

# Turns nine o'clock into 9 p.m., where nothing else says which half of the day it is.
function vary_hour(    hour, names) {
    if ($1 !~ /o'clock/ || $1 ~ /morning|noon|night|evening|a\.m|p\.m/) return 0
    for (hour = 2; hour < 12; hour++) {
        split(to_twelve[hour - 1], names, "=")
        if (replace(names[1] " o'clock=" names[2] " Uhr", hour " p.m.=" (hour + 12) " Uhr") ||
            replace(hour " o'clock=" hour " Uhr", hour " p.m.=" (hour + 12) " Uhr")) {
            sub(/p\.m\.\.$/, "p.m.", $1)
            return 1
        }
    }
    return 0
}

{
    if (draw(2) == 1) {
        if (!vary_name(men, sizes["men"], 1) && !vary_name(women, sizes["women"], 1)) vary_name(women, sizes["women"], 2)
        vary(cities, sizes["cities"], 1)
        vary(countries, sizes["countries"], 1)
        vary(languages, sizes["languages"], 1)
        if (draw(2) == 1) vary_hour()
        if (!vary_digits() && !vary_any(to_twelve, sizes["to_twelve"])) vary_any(beyond, sizes["beyond"])
    }
    print
}
