# Gives a corpus more names than it has: in every second English-German pair that could, one name becomes another one, on both sides.
#
#   zcat train.tsv.gz | LC_ALL=C awk -f scripts/vary_names.awk | gzip > train-names.tsv.gz
#
# Columns: English, German. Tatoeba knows hardly any name but Tom, Mary and Boston, and a model learns only what it has seen. A name is exchanged only
# where it stands equally often on both sides, all of its occurrences alike, so that the pair stays a translation. The choice depends on the line number
# alone: the same text comes out of every awk.

BEGIN {
    FS = OFS = "\t"
    random = 20180513

    # Each list: what is replaced, as english:german, then what may stand in its place. Names that end in s have another German genitive: none here.
    sizes["men"] = split("Tom:Tom John:John Jack:Jack Ben:Ben Paul:Paul Peter:Peter Max:Max Felix:Felix Leon:Leon Jan:Jan Tim:Tim Jonathan:Jonathan " \
        "Michael:Michael Martin:Martin Stefan:Stefan Daniel:Daniel David:David Robert:Robert Thorsten:Thorsten Walter:Walter Karl:Karl " \
        "Oskar:Oskar Emil:Emil Anton:Anton Jakob:Jakob Simon:Simon Florian:Florian Sebastian:Sebastian Christian:Christian Oliver:Oliver " \
        "Alexander:Alexander Johann:Johann Georg:Georg Frank:Frank Ali:Ali Mehmet:Mehmet Ahmed:Ahmed Pablo:Pablo Marco:Marco Luca:Luca " \
        "Pierre:Pierre Ivan:Ivan Hiroshi:Hiroshi Uwe:Uwe Ralf:Ralf Dieter:Dieter Wolfgang:Wolfgang Otto:Otto Erik:Erik Philipp:Philipp " \
        "Henry:Henry William:William James:James George:George Mark:Mark Bill:Bill Steven:Steven Kevin:Kevin Brian:Brian Adam:Adam", men, " ")
    sizes["women"] = split("Mary:Maria Mary:Mary Anna:Anna Julia:Julia Laura:Laura Lisa:Lisa Sarah:Sarah Emma:Emma Lena:Lena Lea:Lea Sophie:Sophie " \
        "Marie:Marie Hannah:Hannah Eva:Eva Katharina:Katharina Christine:Christine Sabine:Sabine Petra:Petra Monika:Monika Ursula:Ursula " \
        "Helga:Helga Ingrid:Ingrid Claudia:Claudia Andrea:Andrea Stefanie:Stefanie Nina:Nina Clara:Clara Paula:Paula Mia:Mia Nora:Nora " \
        "Elena:Elena Olga:Olga Fatima:Fatima Ayse:Ayse Carmen:Carmen Yuki:Yuki Elisabeth:Elisabeth Charlotte:Charlotte Martha:Martha " \
        "Susan:Susan Linda:Linda Jane:Jane Emily:Emily Kate:Kate Nancy:Nancy Rose:Rose Barbara:Barbara Helen:Helen Rita:Rita", women, " ")
    sizes["cities"] = split("Boston:Boston Berlin:Berlin Hamburg:Hamburg Munich:München Cologne:Köln Frankfurt:Frankfurt Leipzig:Leipzig Dresden:Dresden " \
        "Stuttgart:Stuttgart Bonn:Bonn Vienna:Wien Zurich:Zürich Basel:Basel Salzburg:Salzburg London:London Rome:Rom Madrid:Madrid " \
        "Prague:Prag Warsaw:Warschau Moscow:Moskau Istanbul:Istanbul Oslo:Oslo Lisbon:Lissabon Milan:Mailand Venice:Venedig " \
        "Chicago:Chicago Tokyo:Tokio Dublin:Dublin Copenhagen:Kopenhagen Budapest:Budapest Geneva:Genf Nuremberg:Nürnberg", cities, " ")
    sizes["countries"] = split("Australia:Australien Germany:Deutschland Austria:Österreich France:Frankreich Italy:Italien Spain:Spanien Portugal:Portugal " \
        "Poland:Polen England:England Ireland:Irland Scotland:Schottland Norway:Norwegen Sweden:Schweden Denmark:Dänemark " \
        "Finland:Finnland Russia:Russland Greece:Griechenland Canada:Kanada Mexico:Mexiko Brazil:Brasilien India:Indien China:China " \
        "Japan:Japan Egypt:Ägypten Kenya:Kenia Hungary:Ungarn Belgium:Belgien Argentina:Argentinien", countries, " ")
    sizes["languages"] = split("French:Französisch German:Deutsch English:Englisch Spanish:Spanisch Italian:Italienisch Russian:Russisch Polish:Polnisch " \
        "Turkish:Türkisch Japanese:Japanisch Chinese:Chinesisch Portuguese:Portugiesisch Arabic:Arabisch Swedish:Schwedisch " \
        "Greek:Griechisch Dutch:Niederländisch Korean:Koreanisch", languages, " ")
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

# Exchanges the name `old` of this line by one of `list` on both sides, if that can be done.
function vary(list, size, old,    from, to, english, german) {
    split(list[old], from, ":")
    if (index($1, from[1]) == 0 || index($2, from[2]) == 0) return 0
    split(list[draw(size)], to, ":")
    if (index($1, to[1]) > 0) return 0
    english = exchange($1, from[1], to[1], "'s")
    matches = count
    german = exchange($2, from[2], to[2], "s")
    if (count == 0 || count != matches) return 0
    $1 = english
    $2 = german
    return 1
}

{
    if (draw(2) == 1) {
        if (!vary(men, sizes["men"], 1) && !vary(women, sizes["women"], 1)) vary(women, sizes["women"], 2)
        vary(cities, sizes["cities"], 1)
        vary(countries, sizes["countries"], 1)
        vary(languages, sizes["languages"], 1)
    }
    print
}
